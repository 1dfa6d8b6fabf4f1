"""Loading over HTTP: what is asked of the supervisor, and what is made of its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from inferctl.errors import InsufficientMemory
from inferctl.server import repository
from inferctl.settings import ServerSettings
from tests.tasks.tinybundles import numbers

from .asgi import Answer, ask, get
from .loop import look_once
from .wiring import Worker, working

LOAD = "/v2/repository/models/sums/load"
ADMIN = ServerSettings(admin=True)


async def asked(worker: Worker, path: str, **answer: Any) -> Answer:
    """A request, and the supervisor's answer to it."""
    asking = asyncio.create_task(ask(worker.app, path))
    await look_once()
    worker.repository.hear({"to": worker.asked[-1]["id"], **answer})
    return await asking


async def test_what_a_client_wants_is_passed_on(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        for about in ("load", "unload"):
            path = f"/v2/repository/models/other.one/{about}"
            answer = await asked(worker, path, problems={})
            assert (answer.status, answer.body) == (200, b"")
            said = worker.asked.pop()
            assert said.pop("id") >= 0
            assert said == {"event": "ask", "about": about, "model": "other.one"}


@pytest.mark.parametrize(
    ("reason", "status"), [("it is damaged", 400), (str(InsufficientMemory("a lot")), 503)]
)
async def test_a_problem_is_a_refusal(tmp_path: Path, reason: str, status: int) -> None:
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        answer = await asked(worker, LOAD, problems={"sums version 2": reason})
        assert (answer.status, answer.json) == (status, {"error": f"sums version 2: {reason}"})


async def test_answers_find_their_requests(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        asking = [asyncio.create_task(ask(worker.app, LOAD)) for _ in range(3)]
        await look_once()
        for said in reversed(worker.asked):
            worker.repository.hear({"to": said["id"], "problems": {"sums": str(said["id"])}})
            worker.repository.hear({"to": said["id"], "problems": {}})  # it is told once
        told = [answer.json["error"] for answer in await asyncio.gather(*asking)]
        assert told == [f"sums: {said['id']}" for said in worker.asked]
        worker.repository.hear({"to": 99, "problems": {}})


async def test_the_index_is_told(tmp_path: Path) -> None:
    index = [{"name": "sums", "version": "2", "state": "UNAVAILABLE", "reason": "damaged"}]
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        answer = await asked(worker, "/v2/repository/index", index=index)
        assert (answer.status, answer.json) == (200, index)


async def test_who_waits_too_long_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "ANSWER_TIMEOUT_S", 0.01)
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        answer = await ask(worker.app, LOAD)
        assert (answer.status, "goes on" in answer.json["error"]) == (400, True)


async def test_without_leave_nothing_is_asked_for(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker:
        answer = await ask(worker.app, LOAD)
        assert (answer.status, "server.admin" in answer.json["error"]) == (501, True)
        listed = (await ask(worker.app, "/v2/repository/index")).json
        assert [(one["version"], one["state"]) for one in listed] == [("3", "READY")]
        assert worker.asked == []


async def test_the_document_tells_of_it(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=ADMIN) as worker:
        paths = (await get(worker.app, "/openapi.json")).json["paths"]
        operation = paths["/v2/repository/models/{name}/load"]["post"]
        assert set(operation["responses"]) == {"200", "400", "503"}
