"""Whichever way a request went through the worker, its answer is the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.wire import Verdict
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import classifier, detector

from .asgi import Answer
from .wire import serving
from .wiring import Worker, working

AS_JSON = {"Content-Type": JSON}
IMAGE_HEADERS = {"Content-Type": "image/png"}
SAME: list[tuple[int, bytes, Mapping[str, str], str]] = [
    (200, encoded(plain(), "PNG"), IMAGE_HEADERS, ""),
    (200, encoded(plain(), "PNG"), IMAGE_HEADERS | {"X-Request-ID": "me"}, "version=3"),
    (200, encoded(plain(), "PNG"), IMAGE_HEADERS | {"Connection": "close"}, ""),
    (400, b"{", AS_JSON, ""),
    (400, b"x", IMAGE_HEADERS, "&".join("abcdefghijklmnopqrstuvwxyz" * 2)),
    (404, b"x", IMAGE_HEADERS, "version=2"),
    (413, b"x" * 2000, IMAGE_HEADERS, ""),
    (415, b"x", {}, ""),
    (415, b"x", AS_JSON | {"Content-Encoding": "gzip"}, ""),
    (422, b"{}", AS_JSON, ""),
    (422, b"x", IMAGE_HEADERS, "confidence_threshold=2"),
]
STATES = {200: Verdict.DONE, 500: Verdict.FAILED, 504: Verdict.EXPIRED}


def shape(content: Any) -> Any:
    """What does not differ from one request to the next."""
    return {key: type(text) if "_" in key else text for key, text in content.items()}


async def both_ways(worker: Worker, *request: Any) -> list[Answer]:
    """Over the protocol, again with its head known, and over ASGI: to the same path in disguise."""
    body, headers, query = request
    paths = ("/predict", "/predict", "/predic%74")
    async with serving(worker) as service:
        return [await service.ask(path, body, headers=headers, query=query) for path in paths]


def assert_alike(answers: list[Answer], status: int) -> None:
    first = answers[0]
    assert first.status == status
    assert "date" in first.headers
    for answer in answers[1:]:
        assert answer.status == first.status
        assert list(answer.headers) == list(first.headers)
        assert shape(answer.json) == shape(first.json)
        for name in ("content-type", "connection", "retry-after"):
            assert answer.headers.get(name) == first.headers.get(name)


@pytest.mark.parametrize(("status", "body", "headers", "query"), SAME, ids=range(len(SAME)))
async def test_an_answer_is_the_same_whichever_way_its_request_went(
    tmp_path: Path, status: int, body: bytes, headers: Mapping[str, str], query: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with working(tmp_path, detector(), server=server) as worker:
        assert_alike(await both_ways(worker, body, headers, query), status)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_a_failure_is_the_same_whichever_way_its_request_went(
    tmp_path: Path, status: int
) -> None:
    verdict = STATES.get(status, Verdict.DONE)
    async with working(tmp_path, classifier(), slots=1, verdict=verdict) as worker:
        if status == 429:
            worker.models[0].admit(1, float("inf"), 0.0)
        if status == 503:
            worker.link.give_up()
        assert_alike(await both_ways(worker, encoded(plain(), "PNG"), IMAGE_HEADERS, ""), status)
