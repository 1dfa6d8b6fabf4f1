"""Bodies that do not come whole with their heads: read to their place, or left with the client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.server.protocol import HEAD_BYTES, READ_BYTES, Protocol
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .asgi import Answer
from .loop import look_once, until
from .wire import LAST_CHUNK, Client, Service, chunks, head, packet, serving
from .wiring import ServedModel, Worker, few_slots, outputs_of, working

AS_JSON = {"Content-Type": JSON}
SIZES = [HEAD_BYTES, HEAD_BYTES + 1, 20_000, READ_BYTES + 1, 120_000]
LARGE = 20_000
MIB = 1024 * 1024
# One request in the engine, one at the gate, and no room for more bodies.
CROWDED = few_slots(max_concurrent=1)
LITTLE_ROOM = ServerSettings(max_waiting_body_bytes=1024, request_timeout_ms=60_000)


def asking(number: float, size: int = LARGE, **headers: str) -> bytes:
    body = orjson.dumps({"inputs": [number, 0, 0, 0]}).ljust(size)
    return packet(body=body, headers=AS_JSON | headers)


def echo(model: ServedModel, slot: int) -> None:
    outputs_of(model, slot)["logits"][:] = model.arena.inputs["input"][slot][:3]


def told(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return answer.json["outputs"]["logits"][0]


def unread(service: Service) -> int:
    """Connections that the worker does not read from."""
    connections: set[Protocol] = service.server.server_state.connections  # type: ignore[assignment]
    return sum(connection.flow.read_paused for connection in connections)


async def crowd(worker: Worker, service: Service, *numbers: float) -> list[Client]:
    """A client per request; the first is in the engine, the second at the gate, both whole."""
    clients = [await service.connect() for _ in numbers]
    for place, (client, number) in enumerate(zip(clients, numbers, strict=True)):
        await client.send(asking(number))
        await worker.slots_are_used(place + 1)
    return clients


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_known", [True, False], ids=["known head", "new heads"])
async def test_a_large_body_is_answered(tmp_path: Path, size: int, is_known: bool) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for number in range(4):
            headers = {} if is_known else {"Trace": str(number)}
            assert told(await client.ask(asking(number, size, **headers))) == number


@pytest.mark.parametrize("piece", [500, HEAD_BYTES, 10_000])
async def test_a_large_body_may_come_in_pieces(tmp_path: Path, piece: int) -> None:
    data = asking(5)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(3):
            await client.send_in_pieces(data, piece)
            assert told(await client.answer()) == 5


@pytest.mark.parametrize("size", SIZES)
async def test_what_follows_a_large_body_is_the_next_request(tmp_path: Path, size: int) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(
            b"".join([asking(1, size), asking(2, 0), asking(3, size), asking(4, size)])
        )
        assert [told(await client.answer()) for _ in range(4)] == [1, 2, 3, 4]


async def test_a_large_chunked_body_is_answered(tmp_path: Path) -> None:
    body = orjson.dumps({"inputs": [5, 0, 0, 0]}).ljust(LARGE)
    data = head("/predict", {"Host": "here", "Transfer-Encoding": "chunked", **AS_JSON})
    data += chunks(body[:7], body[7:9000], body[9000:]) + LAST_CHUNK
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(2):
            assert told(await client.ask(data)) == 5


async def test_bodies_are_left_with_their_clients_while_others_wait(tmp_path: Path) -> None:
    async with (
        working(
            tmp_path, numbers(), fill=echo, verdict=None, settings=CROWDED, server=LITTLE_ROOM
        ) as worker,
        serving(worker) as service,
    ):
        clients = await crowd(worker, service, 1, 2, 3, 4)
        assert unread(service) == 2
        for number, client in enumerate(clients, 1):
            worker.engine.answer(await worker.engine.next())
            assert told(await client.answer()) == number
            await look_once()
            assert unread(service) == max(0, 2 - number)
        assert worker.slots_in_use() == 0


async def test_a_body_that_finds_no_room_and_no_place_is_read_and_refused(tmp_path: Path) -> None:
    """The connection stays usable: nothing of the body is left in it."""
    async with (
        working(
            tmp_path, numbers(), fill=echo, verdict=None, slots=2, settings=CROWDED,
            server=LITTLE_ROOM,
        ) as worker,
        serving(worker) as service,
    ):  # fmt: skip
        clients = await crowd(worker, service, 1, 2)
        late = await service.connect()
        answer = await late.ask(asking(3))
        assert (answer.status, answer.json["code"]) == (429, "overloaded")
        assert "connection" not in answer.headers
        for client in clients:
            worker.engine.answer(await worker.engine.next())
            await client.answer()
        await late.send(asking(4))
        worker.engine.answer(await worker.engine.next())
        assert told(await late.answer()) == 4


async def test_bodies_that_are_announced_and_do_not_come_keep_nobody_out(tmp_path: Path) -> None:
    announced = {"Host": "here", "Content-Length": str(MIB // 2)} | AS_JSON
    async with (
        working(tmp_path, numbers(), fill=echo, settings=few_slots(memory_bytes=MIB)) as worker,
        serving(worker) as service,
    ):
        for body in (b"", bytes(LARGE)) * 8:
            await (await service.connect()).send(head("/predict", announced) + body)
        held = worker.models[0].admission
        await until(lambda: held.body_bytes >= 8 * LARGE)
        assert held.body_bytes == 8 * LARGE
        client = await service.connect()
        assert told(await client.ask(asking(5, 100_000))) == 5


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
async def test_a_body_for_which_there_is_no_memory_is_refused_before_it_is_whole(
    tmp_path: Path, framing: str
) -> None:
    part, rest = bytes(340_000), bytes(720_000)
    is_chunked = framing == "Transfer-Encoding"
    size = {framing: "chunked" if is_chunked else str(len(rest) + 2)}
    begun = head("/predict", {"Host": "here"} | AS_JSON | size)
    async with (
        working(tmp_path, numbers(), settings=few_slots(memory_bytes=MIB)) as worker,
        serving(worker) as service,
    ):
        held = worker.models[0].admission
        first, second = await service.connect(), await service.connect()
        await second.send(begun + (chunks(b" ") if is_chunked else b" "))
        await until(lambda: worker.work.timeouts._begun_s)
        await first.send(begun + (chunks(part) if is_chunked else part))
        await until(lambda: held.body_bytes >= len(part))
        await second.send(chunks(rest) if is_chunked else rest)
        answer = await second.answer()
        assert (answer.status, answer.headers["connection"]) == (429, "close")
        assert worker.ledger.total("inferctl_shed_total", 0, "memory") == 1
        await first.leave()
        await until(lambda: not held.body_bytes)


async def test_many_items_that_were_left_with_their_client_are_forgotten_when_answered(
    tmp_path: Path,
) -> None:
    async with (
        working(tmp_path, numbers(), verdict=None, settings=CROWDED, server=LITTLE_ROOM) as worker,
        serving(worker) as service,
    ):
        clients = await crowd(worker, service, 1, 2)
        many = await service.connect()
        body = orjson.dumps({"items": [{"inputs": [3, 0, 0, 0]}] * 2}).ljust(LARGE)
        await many.send(packet(body=body, headers=AS_JSON))
        await worker.slots_are_used(3)
        assert unread(service) == 1
        worker.engine.verdict = Verdict.DONE
        worker.engine.answer(await worker.engine.next())
        for client in (*clients, many):
            assert (await client.answer()).status == 200
        await worker.slots_are_used(0)
        assert worker.work.intake.is_open


async def test_a_client_whose_body_was_left_with_it_misses_its_deadline(tmp_path: Path) -> None:
    async with (
        working(
            tmp_path, numbers(), fill=echo, verdict=None, settings=CROWDED, server=LITTLE_ROOM
        ) as worker,
        serving(worker) as service,
    ):
        first, second, waiting, last = await crowd(worker, service, 1, 2, 3, 4)
        *_, third, _ = worker.work.timeouts._begun_s
        third.expire()
        answer = await waiting.answer()
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
        assert worker.slots_in_use() == 3
        for client in (first, second, last):
            worker.engine.answer(await worker.engine.next())
            assert (await client.answer()).status == 200
        await waiting.send(asking(5))
        worker.engine.answer(await worker.engine.next())
        assert told(await waiting.answer()) == 5, "the connection is kept"


async def test_a_client_that_leaves_while_its_body_was_left_with_it_frees_its_place(
    tmp_path: Path,
) -> None:
    async with (
        working(tmp_path, numbers(), verdict=None, settings=CROWDED, server=LITTLE_ROOM) as worker,
        serving(worker) as service,
    ):
        first, second = await crowd(worker, service, 1, 2)
        leaving = await service.connect()
        await leaving.send(asking(3)[:HEAD_BYTES])
        await worker.slots_are_used(3)
        await leaving.leave()
        for client in (first, second):
            worker.engine.answer(await worker.engine.next())
            await client.answer()
        await until(lambda: not worker.slots_in_use())
        assert worker.work.intake.is_open


@pytest.mark.parametrize("end", ["leaves", "is late"])
async def test_a_body_that_ends_before_it_is_whole_frees_what_it_held(
    tmp_path: Path, end: str
) -> None:
    async with (
        working(tmp_path, numbers(), verdict=None, settings=CROWDED, server=LITTLE_ROOM) as worker,
        serving(worker) as service,
    ):
        first, second = await crowd(worker, service, 1, 2)
        half = await service.connect()
        await half.send(asking(3)[:-1])
        await worker.slots_are_used(3)
        for client in (first, second):
            worker.engine.answer(await worker.engine.next())
            await client.answer()
        await until(lambda: not unread(service))
        assert not worker.work.intake.is_open, "it was let in, and is not whole"
        if end == "leaves":
            await half.leave()
        else:
            worker.time_is_over()
            assert (await half.answer()).status == 408
        await until(lambda: worker.work.intake.is_open)
        assert worker.slots_in_use() == 0
