"""The Open Inference Protocol's cold paths, and v1's: what is said of server and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl import __version__
from inferctl.arena.ledger import Ledger
from inferctl.server.v1 import ModelStatus
from inferctl.server.v2 import ModelConfig, ModelMetadata
from inferctl.settings import BatchingSettings, LimitsSettings, ModelSettings
from tests.tasks.tinybundles import classifier, detector, numbers, reader, write_tokenizer

from .asgi import Answer, get, post_json
from .test_v2_infer import INFER, ONE
from .v2 import in_json
from .wiring import Worker, working


async def test_the_server_tells_its_extensions(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        content = (await get(worker.app, "/v2")).json
        assert (content["name"], content["version"]) == ("inferctl", __version__)
        assert {"binary_tensor_data", "statistics"} < set(content["extensions"])
        assert (await get(worker.app, "/v2/models")).json == {"models": ["shapes"]}
        assert (await get(worker.app, "/v1/models")).json == {"models": ["shapes"]}


async def test_health_follows_the_engine_and_is_not_logged(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        for ready in (True, False):
            worker.engine_is_ready(ready)
            status = 200 if ready else 503
            assert (await get(worker.app, "/v2/health/live")).json == {"live": True}
            answer = await get(worker.app, "/v2/health/ready")
            assert (answer.status, answer.json) == (status, {"ready": ready})
        assert worker.logged() == []


@pytest.mark.parametrize("version", ["", "/versions/3"])
async def test_a_model_is_ready_with_the_engine(tmp_path: Path, version: str) -> None:
    async with working(tmp_path, detector()) as worker:
        for ready in (True, False):
            worker.engine_is_ready(ready)
            answer = await get(worker.app, f"/v2/models/shapes{version}/ready")
            assert (answer.status, answer.json["ready"]) == (200 if ready else 503, ready)
            answer = await get(worker.app, f"/v1/models/shapes{version}")
            assert answer.status == (200 if ready else 503)
            status = ModelStatus.model_validate_json(answer.body)
            assert (status.name, status.ready) == ("shapes", ready)
            (state,) = status.model_version_status
            assert (state.version, state.state) == ("3", "AVAILABLE" if ready else "LOADING")


@pytest.mark.parametrize("version", ["", "/versions/3"])
async def test_tensors_are_told_with_their_free_sides(tmp_path: Path, version: str) -> None:
    write_tokenizer(tmp_path, "good")
    settings = ModelSettings(
        batching=BatchingSettings(max_wait_ms=2.5), limits=LimitsSettings(max_rows=16)
    )
    async with working(tmp_path, reader(), settings=settings) as worker:
        content = (await get(worker.app, f"/v2/models/mood{version}")).json
        metadata = ModelMetadata.model_validate(content)
        assert (metadata.versions, metadata.platform) == (["3"], "onnxruntime_onnx")
        assert content["inputs"][0] == {
            "name": "input_ids",
            "datatype": "INT64",
            "shape": [-1, -1],
        }
        assert content["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}]
        content = (await get(worker.app, f"/v2/models/mood{version}/config")).json
        config = ModelConfig.model_validate(content)
        assert config.max_batch_size == 16
        assert config.dynamic_batching.max_queue_delay_microseconds == 2500
        assert content["input"][0] == {"name": "input_ids", "data_type": "TYPE_INT64", "dims": [-1]}
        assert content["output"] == [{"name": "scores", "data_type": "TYPE_FP32", "dims": [3]}]
        assert content["response_cache"] == {"enable": False}
        assert content["model_transaction_policy"] == {"decoupled": False}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other", "/v2/models/other/ready", "/v2/models/other/config",
        "/v2/models/other/stats", "/v2/models/shapes/versions/4", "/v1/models/other",
        "/v2/models/shapes/versions/x/stats", "/v2/nothing", "/v1/nothing",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_404_in_the_protocols_form(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await get(worker.app, path)
        assert (answer.status, list(answer.json)) == (404, ["error"])
        assert "x-request-id" in answer.headers


async def test_the_index_tells_each_models_state(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), classifier()) as worker:
        answer = await post_json(worker.app, {"ready": True}, "/v2/repository/index")
        assert answer.json == [
            {"name": name, "version": "3", "state": "READY", "reason": ""}
            for name in ("shapes", "animals")
        ]
        worker.engine_is_ready(False)
        answer = await post_json(worker.app, {}, "/v2/repository/index")
        assert {model["state"] for model in answer.json} == {"LOADING"}
        worker.service_ends()
        answer = await post_json(worker.app, {}, "/v2/repository/index")
        assert {model["state"] for model in answer.json} == {"UNAVAILABLE"}


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_models_are_not_loaded_at_run_time(tmp_path: Path, verb: str) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await post_json(worker.app, {}, f"/v2/repository/models/shapes/{verb}")
        assert (answer.status, list(answer.json)) == (501, ["error"])


def stats(answer: Answer) -> Any:
    (found,) = answer.json["model_stats"]
    return found


async def infer(worker: Worker, **fields: Any) -> int:
    content = {"inputs": [in_json("input", ONE) | fields]}
    return (await post_json(worker.app, content, INFER)).status


async def test_statistics_are_the_ledgers(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker:
        before = stats(await get(worker.app, "/v2/models/sums/stats"))
        assert (before["last_inference"], before["inference_count"]) == (0, 0)
        assert before["inference_stats"]["success"] == {"count": 0, "ns": 0}
        assert [await infer(worker), await infer(worker)] == [200, 200]
        assert await infer(worker, shape=[2]) == 400
        engine = worker.ledger.blocks[Ledger.ENGINE]
        engine.cell("inferctl_rows_total", 0).add(2)
        for _ in range(2):
            engine.histogram("inference_batch_size", 0).observe(1)
            engine.histogram("inferctl_run_seconds", 0).observe(0.25)
        found = stats(await get(worker.app, "/v2/models/sums/versions/3/stats"))
        assert (found["name"], found["version"]) == ("sums", "3")
        assert (found["inference_count"], found["execution_count"]) == (2, 2)
        assert found["last_inference"] > 1_700_000_000_000
        counts = {name: part["count"] for name, part in found["inference_stats"].items()}
        assert counts == {
            "success": 2, "fail": 1, "queue": 2, "compute_input": 2, "compute_infer": 2,
            "compute_output": 2, "cache_hit": 0, "cache_miss": 0,
        }  # fmt: skip
        for name in ("success", "fail", "compute_input", "compute_infer", "compute_output"):
            assert found["inference_stats"][name]["ns"] > 0
        nothing = {"count": 0, "ns": 0}
        assert found["batch_stats"] == [
            {
                "batch_size": 1,
                "compute_input": nothing,
                "compute_infer": {"count": 2, "ns": 500_000_000},
                "compute_output": nothing,
            }
        ]
        for size in (1, 3):
            engine.histogram("inference_batch_size", 0).observe(size)
        assert stats(await get(worker.app, "/v2/models/stats"))["batch_stats"] == []


async def test_a_failures_seconds_are_not_a_successs(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker:
        worker.models[0].count("ok", 1.0)
        worker.models[0].count("overloaded", 0.5)
        found = stats(await get(worker.app, "/v2/models/sums/stats"))["inference_stats"]
        assert found["success"] == {"count": 1, "ns": 1_000_000_000}
        assert found["fail"] == {"count": 1, "ns": 500_000_000}
