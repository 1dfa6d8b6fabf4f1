"""Both clients against a real service: every task, many at once, and errors in their places."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inferctl import client
from inferctl.client.blocking import AHEAD
from inferctl.client.shares import ITEMS_AT_ONCE
from tests.client.asking import Asking
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

WHITE = Image.new("RGB", (100, 50), "white")
TOO_LONG = "good " * 2000


@pytest.fixture
def ask(asking: Asking, service: Service) -> Asking:
    """Each of both clients of the service."""
    return asking.of(service.url)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_a_detector_takes_an_image_in_every_form(ask: Asking, tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    path.write_bytes(png(WHITE))
    for x in (path, path.read_bytes(), WHITE, np.asarray(WHITE)):
        found = ask.predict(x, model="shapes")
        assert isinstance(found, client.Detections)
        assert [one.label for one in found] == ["cat", "dog", "owl"]
        assert found.detections[0] == client.Detection("cat", 1.0, (0, 0, 50, 25))
        assert (found.model, found.version) == ("shapes", 1)


def test_options_reach_the_task(ask: Asking) -> None:
    assert len(ask.predict(WHITE, model="shapes", confidence_threshold=0.7)) == 2
    green = ask.predict(Image.new("RGB", (4, 4), "lime"), model="animals", top_k=2)
    assert isinstance(green, client.Classification)
    assert green.label == green.predictions[0].label == "dog"
    assert green.score == green.predictions[0].score > 0.9
    assert len(green.predictions) == 2


def test_a_text_is_answered_by_the_default_model(ask: Asking, service: Service) -> None:
    answer = ask.predict("a good film")

    assert isinstance(answer, client.TextLabel)
    assert answer.label == "good"
    assert answer.scores["good"] == answer.score > 0.5
    assert 0 < answer.inference_ms < answer.latency_ms


def test_tensors_come_in_by_name_or_alone(ask: Asking) -> None:
    row = np.array([1, 2, 3, 4], np.float32)
    for x in (row, {"input": row}, {"input": [1, 2, 3, 4]}):
        answer = ask.predict(x, model="sums")
        assert isinstance(answer, client.Tensors)
        assert answer.outputs == {"logits": [10.0, 4.0, 1.0]}


@pytest.mark.parametrize(
    ("x", "options", "kind", "code"),
    [
        (b"no image", {"model": "shapes"}, client.BadRequest, "unsupported_media"),
        ("good", {"model": "none"}, client.NotFound, "not_found"),
        ("good", {"version": 2}, client.NotFound, "not_found"),
        ("good", {"top_k": 2}, client.BadRequest, "unprocessable"),
        (TOO_LONG, {}, client.BadRequest, "too_large"),
        (WHITE, {}, client.BadRequest, "unsupported_media"),
    ],
)
def test_a_refusal_is_the_servers_own(
    ask: Asking, x: object, options: dict[str, object], kind: type, code: str
) -> None:
    error = ask.failure(x, **options)  # type: ignore[arg-type]

    assert type(error) is kind
    assert error.code == code


def test_the_service_describes_itself(ask: Asking) -> None:
    assert ask("ready") is True
    models = {model.name: model for model in ask("models")}
    assert set(models) == {"shapes", "animals", "mood", "sums"}
    assert models["mood"].default
    assert models["mood"].labels == ("bad", "good")
    assert models["shapes"].content_types == (
        "application/json",
        "image/jpeg",
        "image/png",
        "image/webp",
    )
    health = ask("health")
    assert (health.status, health.model_loaded) == ("ok", True)
    assert health.models["sums"].state == "ready"
    assert (health.engine, health.workers, health.queue_rows) == ("ready", 1, 0)
    assert health.last_restart is None
    assert 'inferctl_rows_total{model="sums"' in ask("metrics")


def test_many_are_answered_in_order_with_errors_in_their_places(ask: Asking) -> None:
    """One text that is too long spoils the request that it shares with others."""
    texts = ["good" if number % 3 else "bad" for number in range(100)]
    texts[40], texts[41], texts[70] = TOO_LONG, "\ud800", ""

    outcomes = ask.many(texts)

    codes = {n: one.code for n, one in enumerate(outcomes) if isinstance(one, client.ClientError)}
    assert codes == {40: "too_large", 41: "invalid_input", 70: "empty_text"}
    for text, outcome in zip(texts, outcomes, strict=True):
        assert isinstance(outcome, client.ClientError) or outcome.label == text


def test_many_images_and_what_is_none_of_them(ask: Asking, tmp_path: Path) -> None:
    colours = {"red": "cat", "lime": "dog", "blue": "owl"}
    images = [Image.new("RGB", (9, 9), colour) for _ in range(4) for colour in colours]

    outcomes = ask.many([tmp_path / "no.png", *images], model="animals", concurrency=3, top_k=1)

    assert isinstance(outcomes[0], client.InvalidInput)
    assert [one.label for one in outcomes[1:]] == list(colours.values()) * 4
    assert {len(one.predictions) for one in outcomes[1:]} == {1}


def test_a_tensor_that_fails_in_the_model_fails_alone(ask: Asking) -> None:
    largest = float(np.finfo(np.float32).max)
    rows = [[1.0, 0, 0, 0], [largest, largest, 0, 0], [0, 0, 0, 1.0]]

    first, second, third = ask.many([{"input": row} for row in rows], model="sums")

    assert first.outputs["logits"] == [1, 0, 1]
    assert isinstance(second, client.PredictionFailed)
    assert second.code == "non_finite_output"
    assert third.outputs["logits"] == [1, 1, 0]


def test_inputs_are_taken_as_they_are_needed(service: Service) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "good"

    with client.Client(service.url) as one:
        outcomes = one.predict_many(endless(), concurrency=2)
        first = next(outcomes)
        assert isinstance(first, client.TextLabel)
        assert taken <= 2 * AHEAD * ITEMS_AT_ONCE
        outcomes.close()  # type: ignore[attr-defined]


def test_inputs_may_come_asynchronously(service: Service) -> None:
    async def texts() -> AsyncIterator[str]:
        for text in ("good", "bad"):
            yield text

    async def labels() -> list[str]:
        async with client.AsyncClient(service.url) as one:
            return [o.label async for o in one.predict_many(texts())]  # type: ignore[union-attr]

    assert asyncio.run(labels()) == ["good", "bad"]


def test_importing_the_client_is_light() -> None:
    heavy = "{'numpy', 'torch', 'onnxruntime', 'fastapi', 'pydantic', 'rich'}"
    code = f"import sys, inferctl.client; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
