"""Every path but the hot ones: state, models, no documentation where none is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.settings import ServerSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.tinybundles import classifier, detector

from .asgi import get, post_json
from .wiring import working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}


@pytest.mark.parametrize("path", ["/models", "/health", "/livez", "/readyz", "/metrics", "/docs"])
async def test_state_paths_do_not_take_post(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await post_json(worker.app, {}, path)
        assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/models", "/health", "/v2", "/v2/health/live", "/docs"])
async def test_a_path_with_a_slash_too_many_leads_nowhere(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        assert (await get(worker.app, path)).status == 200
        answer = await get(worker.app, f"{path}/")
        assert (answer.status, answer.headers.get("location")) == (404, None)


async def test_the_models_are_listed_and_told_one_by_one(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), classifier()) as worker:
        listed = (await get(worker.app, "/models")).json["models"]
        assert [model["name"] for model in listed] == ["shapes", "animals"]
        assert (await get(worker.app, "/models/animals")).json == listed[1]
        assert listed[0] == worker.catalogue.describe(worker.models[0]).model_dump(mode="json")


async def test_readiness_follows_the_engine(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        worker.engine_is_ready(False)
        assert (await get(worker.app, "/livez")).json == {"live": True}
        answer = await get(worker.app, "/readyz")
        assert (answer.status, answer.json) == (503, {"ready": False})
        worker.engine_is_ready()
        answer = await get(worker.app, "/readyz")
        assert (answer.status, answer.json) == (200, {"ready": True})
        worker.service_ends()
        assert (await get(worker.app, "/readyz")).status == 503
        assert (await get(worker.app, "/livez")).status == 200


async def test_health_is_told(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await get(worker.app, "/health")
        assert answer.json["status"] == "ok"
        assert answer.json == worker.state.health().model_dump() | {
            "uptime_s": answer.json["uptime_s"]
        }


async def test_without_docs_there_is_no_documentation(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), server=ServerSettings(docs=False)) as worker:
        for path in ("/docs", "/openapi.json", "/docs/swagger-ui.css"):
            assert (await get(worker.app, path)).status == 404
        assert (await post_json(worker.app, IMAGE)).status == 200
