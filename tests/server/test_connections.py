"""How a connection ends: refused, too late, left, idle, drained; and what that frees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.server.call import SWALLOWED_BYTES
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .line import rows
from .loop import look_once, until
from .wire import Client, chunks, head, packet, serving
from .wiring import Worker, few_slots, working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
HEADERS = {"Host": "here", "Content-Type": JSON}
ASKING = packet(body=ROW, headers=HEADERS)
LIVEZ = packet("/livez", method="GET")
LIMIT = ServerSettings(max_body_bytes=1024)
HURRY = ServerSettings(request_timeout_ms=20)
# The second one is written so that it goes over ASGI.
PATHS = ("/predict", "/predic%74")


def begun(path: str, body: bytes = b"", announced: int = len(ROW)) -> bytes:
    return head(path, HEADERS | {"Content-Length": str(announced)}) + body


def chunked(path: str, *pieces: bytes) -> bytes:
    return head(path, HEADERS | {"Transfer-Encoding": "chunked"}) + chunks(*pieces)


async def assert_refused(worker: Worker, client: Client, data: bytes, status: int) -> None:
    answer = await client.ask(data)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert answer.json["status"] == status
    assert await client.is_closed()
    assert worker.slots_in_use() == 0
    assert worker.engine.submitted.empty()


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_announced_too_large_is_refused_unread(
    tmp_path: Path, path: str
) -> None:
    async with working(tmp_path, numbers(), server=LIMIT) as worker, serving(worker) as service:
        size = SWALLOWED_BYTES + 1
        await assert_refused(worker, await service.connect(), begun(path, announced=size), 413)


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_refused_and_short_is_thrown_away(tmp_path: Path, path: str) -> None:
    """A new connection would cost the client and the server more."""
    async with working(tmp_path, numbers(), server=LIMIT) as worker, serving(worker) as service:
        client = await service.connect()
        for size in (1025, SWALLOWED_BYTES):
            answer = await client.ask(begun(path, announced=size))
            assert (answer.status, answer.headers.get("connection")) == (413, None)
            await client.send(b" " * size)
        assert (await client.ask(ASKING)).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_chunked_body_is_counted(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, numbers(), server=LIMIT) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(chunked(path, *[b" " * 256] * 4))
        await until(lambda: worker.work.timeouts._begun_s)
        await assert_refused(worker, client, chunks(b" "), 413)


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_as_large_as_the_limit_is_taken(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, numbers(), server=LIMIT) as worker, serving(worker) as service:
        assert (await service.ask(path, ROW.ljust(1024), headers=HEADERS)).status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", [b"", ROW[:3]])
async def test_a_body_that_does_not_become_complete_is_too_late(
    tmp_path: Path, path: str, sent: bytes
) -> None:
    async with working(tmp_path, numbers(), server=HURRY) as worker, serving(worker) as service:
        await assert_refused(worker, await service.connect(), begun(path, sent), 408)


@pytest.mark.parametrize("path", PATHS)
async def test_a_chunked_body_that_does_not_become_complete_is_too_late(
    tmp_path: Path, path: str
) -> None:
    async with working(tmp_path, numbers(), server=HURRY) as worker, serving(worker) as service:
        await assert_refused(worker, await service.connect(), chunked(path, ROW), 408)


@pytest.mark.parametrize("path", PATHS)
async def test_a_missed_deadline_keeps_the_connection(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(packet(path, ROW, headers=HEADERS))
        row = await worker.engine.next()
        worker.time_is_over()
        assert (await client.answer()).status == 504
        worker.engine.answer(row)
        await worker.slots_are_used(0)
        worker.engine.verdict = Verdict.DONE
        assert (await client.ask(ASKING)).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_while_waiting_cancels_its_row(
    tmp_path: Path, path: str
) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(packet(path, ROW, headers=HEADERS))
        number, slot = await worker.engine.next()
        await client.leave()
        cancelled = worker.models[number].arena.cancelled
        await until(lambda: cancelled[slot])
        assert worker.slots_in_use() == 1
        worker.engine.answer((number, slot), Verdict.CANCELLED)
        await worker.slots_are_used(0)
        await service.connections_are_gone()
    assert [entry["outcome"] for entry in worker.logged()] == ["client_gone"]
    assert worker.ledger.total("inference_requests_total", 0, "client_gone") == 1


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_while_sending_costs_no_row(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(begun(path, ROW[:3]))
        await until(lambda: worker.work.timeouts._begun_s)
        await client.leave()
        await service.connections_are_gone()
        await until(lambda: not worker.work.timeouts._begun_s)
        assert (worker.slots_in_use(), worker.engine.submitted.empty()) == (0, True)
    assert [entry["status"] for entry in worker.logged()] == [499]


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_at_the_gate_frees_its_slot_at_once(
    tmp_path: Path, path: str
) -> None:
    options: dict[str, Any] = {"settings": few_slots(max_concurrent=1), "verdict": None}
    async with working(tmp_path, numbers(), **options) as worker, serving(worker) as service:
        first, second = [await service.connect() for _ in range(2)]
        await first.send(ASKING)
        row = await worker.engine.next()
        await second.send(packet(path, ROW, headers=HEADERS))
        await worker.slots_are_used(2)
        await second.leave()
        await worker.slots_are_used(1)
        worker.engine.answer(row)
        assert (await first.answer()).status == 200
        worker.engine.verdict = Verdict.DONE
        assert (await first.ask(ASKING)).status == 200


async def test_a_client_that_leaves_takes_what_it_had_in_the_pipeline_with_it(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(ASKING * 2)
        worker.engine.answer(await worker.engine.next())
        assert (await client.answer()).status == 200
        row = await worker.engine.next()
        await client.leave()
        await service.connections_are_gone()
        worker.engine.answer(row, Verdict.CANCELLED)
        await worker.slots_are_used(0)
        await until(lambda: not worker.work.timeouts._begun_s)
    assert [entry["status"] for entry in worker.logged()] == [200, 499]


async def test_a_drained_server_answers_what_is_in_flight_and_closes(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        idle, waiting, sending = [await service.connect() for _ in range(3)]
        worker.engine.verdict = Verdict.DONE
        assert (await idle.ask(ASKING)).status == 200
        await worker.engine.next()
        worker.engine.verdict = None
        await waiting.send(ASKING)
        row = await worker.engine.next()
        await sending.send(begun("/predict", ROW[:3]))
        await until(lambda: len(worker.work.timeouts._begun_s) == 2)
        draining = asyncio.create_task(service.drain())
        assert await idle.is_closed()
        worker.engine.answer(row)
        await sending.send(ROW[3:])
        worker.engine.answer(await worker.engine.next())
        for client in (waiting, sending):
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.is_closed()
        await draining
        with pytest.raises(ConnectionRefusedError):
            await service.connect()


async def test_a_drained_server_answers_what_is_in_the_pipeline(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(ASKING + LIVEZ + ASKING)
        row = await worker.engine.next()
        draining = asyncio.create_task(service.drain())
        await until(lambda: service.server.should_exit and not service.server.servers[0].sockets)
        worker.engine.answer(row)
        worker.engine.verdict = Verdict.DONE
        answers = [await client.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
        await draining


@pytest.mark.parametrize("data", [ASKING, LIVEZ, packet(body=b"{}", headers=HEADERS)])
async def test_a_connection_that_is_idle_for_long_is_closed(tmp_path: Path, data: bytes) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker, 0.05) as service:
        client = await service.connect()
        await client.ask(data)
        assert await client.is_closed()


HALF = len(ASKING) // 2
IN_WORK = {
    "known": (b"", 0, ASKING),
    "new": (b"", 0, begun("/predict") + ROW),
    "in two pieces": (ASKING[:HALF], 0, ASKING[HALF:]),
    "half behind another": (ASKING + ASKING[:HALF], 1, ASKING[HALF:]),
    "after a probe": (LIVEZ, 1, ASKING),
    "half behind a probe": (LIVEZ + ASKING[:HALF], 1, ASKING[HALF:]),
    "over ASGI": (b"", 0, packet("/predic%74", ROW, headers=HEADERS)),
}


@pytest.mark.parametrize(("before", "answers", "data"), IN_WORK.values(), ids=IN_WORK)
async def test_a_connection_in_work_is_not_idle(
    tmp_path: Path, before: bytes, answers: int, data: bytes
) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(ASKING)).status == 200
        await client.send(before)
        for _ in range(answers):
            assert (await client.answer()).status == 200
        await look_once()
        worker.engine.verdict = None
        await client.send(data)
        await worker.slots_are_used(1)
        service.idle_time_is_over()
        await look_once()
        *_, row = rows(worker.engine)
        worker.engine.answer(row)
        assert (await client.answer()).status == 200
        service.idle_time_is_over()
        assert await client.is_closed()


async def test_a_connection_on_which_a_request_begins_is_not_idle(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(ASKING)).status == 200
        await client.send(ASKING[:1])
        await until(lambda: not service.connections.idle._begun_s)
        assert (await client.ask(ASKING[1:])).status == 200


async def test_connections_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        for _ in range(3):
            client = await service.connect()
            assert (await client.ask(ASKING)).status == 200
            await client.leave()
        await service.connections_are_gone()
        assert not service.connections.idle._begun_s
        assert not worker.work.timeouts._begun_s


async def test_a_client_that_does_not_read_is_made_to_wait(tmp_path: Path) -> None:
    """It asks on and on; what the server holds for it stays small, and no answer is lost."""
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect(buffer_bytes=4096)
        await until(lambda: service.server.server_state.connections)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (connection,) = service.server.server_state.connections
        asked = 0
        while not connection.flow.write_paused:
            await client.send(ASKING)
            await worker.engine.next()
            await worker.slots_are_used(0)
            asked += 1
        held = connection.transport.get_write_buffer_size()
        await client.send(ASKING * 3)
        await worker.engine.next()
        await worker.slots_are_used(0)
        assert connection.transport.get_write_buffer_size() <= held
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answers = [await client.answer() for _ in range(asked + 3)]
        assert {answer.status for answer in answers} == {200}
        assert len({answer.headers["x-request-id"] for answer in answers}) == asked + 3
