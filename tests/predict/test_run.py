"""A server and a bundle give the same lines, in the order of the inputs, with errors in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inferctl.client import Options
from inferctl.errors import PredictError, UsageError
from inferctl.predict import Plan, predict_all
from tests.client.scripted import Answer, scripted
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

COLOURS = {"red": "cat", "lime": "dog", "blue": "owl"}
TIMES = {"inference_ms", "latency_ms", "request_id"}

Predict = Callable[..., list[Any]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of coloured images and of one that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        colour = list(COLOURS)[number % 3]
        Image.new("RGB", (20 + number, 20), colour).save(folder / f"{number:02}-{colour}.png")
    (folder / "07-none.png").write_bytes(b"none")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Texts of many lengths, of which two cannot be predicted."""
    path = tmp_path / "texts.txt"
    lines = [" ".join(["good" if n % 3 else "bad", *["a"] * (n % 6)]) for n in range(100)]
    lines[30] = "good " * 2000
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    return path


@pytest.fixture(params=["server", "bundle"])
def predict(
    request: pytest.FixtureRequest, service: Service, bundles: Path, tmp_path: Path
) -> Predict:
    """The lines that come of inputs, by a server and by a bundle."""
    target = service.url if request.param == "server" else str(bundles)

    def lines(*inputs: Path, draw: Path | None = None, **options: Any) -> list[Any]:
        output = tmp_path / "out.jsonl"
        arguments = tuple(map(str, inputs))
        predict_all(Plan(target, arguments, Options(**options), None, output, draw))  # type: ignore[typeddict-item]
        return [json.loads(line) for line in output.read_text().splitlines()]

    return lines


def test_images_are_answered_in_order_with_an_error_in_its_place(
    predict: Predict, images: Path
) -> None:
    lines = predict(images, model="animals", top_k=1)

    assert [line["input"] for line in lines] == [str(path) for path in sorted(images.iterdir())]
    failed = [line for line in lines if "error" in line]
    assert [(Path(line["input"]).name, line["error"]["code"]) for line in failed] == [
        ("07-none.png", "unsupported_media")
    ]
    for line in lines:
        if "error" not in line:
            assert line["label"] == COLOURS[Path(line["input"]).stem.partition("-")[2]]
            assert len(line["predictions"]) == 1


def test_texts_are_answered_in_order_with_errors_in_their_places(
    predict: Predict, texts: Path
) -> None:
    lines = predict(texts, model="mood")

    assert [line["input"] for line in lines] == [f"{texts}:{n}" for n in range(1, 102)]
    codes = {n: line["error"]["code"] for n, line in enumerate(lines) if "error" in line}
    assert codes == {30: "too_large", 100: "invalid_input"}
    for number, line in enumerate(lines):
        if number not in codes:
            assert line["label"] == ("good" if number % 3 else "bad")


def test_a_server_and_a_bundle_say_the_same(
    service: Service, bundles: Path, images: Path, texts: Path, tmp_path: Path
) -> None:
    for model, inputs in (("shapes", images), ("animals", images), ("mood", texts)):
        said = []
        for target in (service.url, str(bundles / model)):
            output = tmp_path / "out.jsonl"
            predict_all(Plan(target, (str(inputs),), Options(model=model), None, output))
            lines = [json.loads(line) for line in output.read_text().splitlines()]
            said.append([without_times(line) for line in lines])
        assert said[0] == said[1]


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    """What does not change from run to run."""
    return {
        name: without_times(value) if isinstance(value, dict) else value
        for name, value in line.items()
        if name not in TIMES
    }


def test_boxes_are_drawn_where_something_was_found(
    predict: Predict, images: Path, tmp_path: Path
) -> None:
    predict(images, model="shapes", confidence_threshold=0.2, draw=tmp_path / "drawn")

    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == sorted(path.name for path in images.iterdir() if "none" not in path.name)


def test_the_summary_counts(bundles: Path, images: Path) -> None:
    done: list[tuple[int, int | None]] = []
    plan = Plan(str(bundles / "animals"), (str(images),), Options())

    summary = predict_all(plan, lambda count, total: done.append((count, total)))

    assert (summary.items, summary.failed) == (41, 1)
    assert summary.labels == {"cat": 14, "dog": 13, "owl": 13}
    assert done[-1] == (41, 41)


def test_an_interruption_keeps_what_is_done(bundles: Path, texts: Path, tmp_path: Path) -> None:
    def interrupt(count: int, total: int | None) -> None:
        if count == 10:
            raise KeyboardInterrupt

    plan = Plan(str(bundles / "mood"), (str(texts),), Options(), None, tmp_path / "r.jsonl")
    with pytest.raises(PredictError, match=r"after 10 items, which are in .*r\.jsonl\.partial"):
        predict_all(plan, interrupt)

    assert len((tmp_path / "r.jsonl.partial").read_text().splitlines()) == 10
    assert not (tmp_path / "r.jsonl").exists()


def test_a_server_that_goes_away_ends_the_run(texts: Path, tmp_path: Path) -> None:
    model = {
        "name": "mood", "version": 1, "task": "text-classification", "default": True, "labels": [],
        "inputs": [], "outputs": [], "precision": "fp32", "limits": {}, "content_types": [],
        "example": {},
    }  # fmt: skip
    cut = Answer(missing=5)
    with scripted(Answer(content={"models": [model]}), *[cut] * 20) as server:
        plan = Plan(server.url, (str(texts),), Options(), 1, tmp_path / "r.jsonl")
        with pytest.raises(PredictError, match=r"broke off.* after 0 items"):
            predict_all(plan)


@pytest.mark.parametrize(
    ("options", "parts", "message"),
    [
        ({}, {}, "several models"),
        ({"model": "none"}, {}, "--model takes one of"),
        ({"model": "mood", "version": 7}, {}, "version 7|this version"),
        ({"model": "mood", "top_k": 2}, {}, "does not know this"),
        ({"model": "animals", "confidence_threshold": 0.5}, {}, "does not know this"),
        ({"model": "mood"}, {"draw": Path("drawn")}, "no boxes"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    bundles: Path, texts: Path, tmp_path: Path, options: Any, parts: Any, message: str
) -> None:
    plan = Plan(str(bundles), (str(texts),), options, output=tmp_path / "r.jsonl", **parts)
    with pytest.raises(UsageError, match=message):
        predict_all(plan)
    assert list(tmp_path.glob("*.partial")) == []


def test_settings_of_a_server_are_not_for_a_bundle(bundles: Path, texts: Path) -> None:
    for plan in (
        Plan(str(bundles / "mood"), (str(texts),), Options(), concurrency=2),
        Plan(str(bundles / "mood"), (str(texts),), Options(timeout_s=2)),
    ):
        with pytest.raises(UsageError, match="for a server only"):
            predict_all(plan)
