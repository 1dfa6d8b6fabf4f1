"""Which path leads where, and what every answer has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.wire import Verdict
from inferctl.settings import ModelSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.tinybundles import classifier, detector

from .asgi import ask, get, post_json
from .wiring import Worker, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}


def requests(worker: Worker, name: str, outcome: str) -> float:
    place = worker.catalogue.find(name).place
    return worker.ledger.total("inference_requests_total", place, outcome)


async def test_without_a_mark_no_model_is_the_default_one(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), classifier()) as worker:
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert "/predict?model=" in answer.json["hint"]
        for name in ("shapes", "animals"):
            answer = await post_json(worker.app, IMAGE, f"/models/{name}/predict")
            assert answer.json["model"] == name


async def test_the_model_marked_as_default_is_the_default_one(tmp_path: Path) -> None:
    settings = {"animals": ModelSettings(default=True)}
    async with working(tmp_path, detector(), classifier(), settings=settings) as worker:
        assert (await post_json(worker.app, IMAGE)).json["model"] == "animals"
        answer = await post_json(worker.app, IMAGE, "/models/shapes/predict")
        assert answer.json["model"] == "shapes"
        listed = (await get(worker.app, "/models")).json["models"]
        assert [model["default"] for model in listed] == [False, True]


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("version=3", 200), ("version=", 200), ("version=03", 404), ("version=4", 404)],
)
async def test_only_the_served_version_is_found(tmp_path: Path, query: str, status: int) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await post_json(worker.app, IMAGE, query=query)
        assert answer.status == status


@pytest.mark.parametrize(
    "path",
    [
        "/models/nothing/predict", "/models//predict", "/models/shapes/Predict", "/predict/x",
        "/models/shapes/x/predict", "/nothing", "//", "/models/nothing", "/healthy",
        "/docs/../requests.log", "/PREDICT", "/models/../predict", "/\n\n", "/ä",
    ],
)  # fmt: skip
async def test_an_unknown_path_is_a_problem(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        for answer in (await get(worker.app, path), await post_json(worker.app, IMAGE, path)):
            assert answer.status in (404, 405)
            assert answer.json["status"] == answer.status
            assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["code"] in ("not_found", "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/predict", "/models/shapes/predict"])
async def test_predict_takes_post_only(tmp_path: Path, method: str, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await ask(worker.app, path, method=method)
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/models", "/livez", "/metrics", "/nothing", "/predict"])
async def test_every_answer_has_an_id_and_timings(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await get(worker.app, path, headers={"X-Request-ID": "me"})
        assert answer.headers["x-request-id"] == "me"
        assert answer.headers["server-timing"].startswith("total;dur=")


@pytest.mark.parametrize("place", ["preprocess", "postprocess", "read_json"])
async def test_a_bug_answers_500_and_says_nothing(
    tmp_path: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise LookupError("secret at 0x7f")

    async with working(tmp_path, detector()) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(worker.models[0].task, place, fail)
            answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (500, "internal_error")
        assert answer.headers["content-type"] == "application/problem+json"
        assert b"secret" not in answer.body
        assert b"LookupError" not in answer.body
        assert "LookupError: secret at 0x7f" in capsys.readouterr().err
        assert worker.slots_in_use() == 0
        assert requests(worker, "shapes", "internal_error") == 1
        assert (await post_json(worker.app, IMAGE)).status == 200


async def test_requests_are_counted_by_model_and_outcome(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), classifier()) as worker:
        for body in (IMAGE, IMAGE, {}):
            await post_json(worker.app, body, "/models/animals/predict")
        worker.engine.verdict = Verdict.FAILED
        await post_json(worker.app, IMAGE, "/models/shapes/predict")
        await post_json(worker.app, IMAGE)
        await get(worker.app, "/models")
        assert requests(worker, "animals", "ok") == 2
        assert requests(worker, "animals", "unprocessable") == 1
        assert requests(worker, "animals", "row_failed") == 0
        assert requests(worker, "shapes", "row_failed") == 1
        assert requests(worker, "shapes", "ok") == 0


async def test_each_request_is_logged_once_and_probes_are_not(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        await post_json(worker.app, IMAGE, headers={"X-Request-ID": "first"})
        await post_json(worker.app, {}, headers={"X-Request-ID": "second"})
        await get(worker.app, "/models", headers={"X-Request-ID": "third"})
        await get(worker.app, "/nothing", headers={"X-Request-ID": "fourth"})
        for probe in ("/livez", "/readyz", "/health", "/metrics"):
            await get(worker.app, probe)
        logged = worker.logged()
    assert [entry["request_id"] for entry in logged] == ["first", "second", "third", "fourth"]
    assert [entry["status"] for entry in logged] == [200, 422, 200, 404]
    assert [entry["model"] for entry in logged] == ["shapes", "shapes", None, None]
    assert [entry["route"] for entry in logged] == ["predict", "predict", "/models", "unmatched"]
    assert [entry["outcome"] for entry in logged] == ["ok", "unprocessable", "ok", "not_found"]
    assert logged[0]["inference_ms"] >= 0
    assert logged[0]["body_bytes"] > 100
    assert "image_b64" not in str(logged)
