"""How connections end: heard to the last word, stuck, left, or to make room; each by its reason."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import cast

import orjson
import pytest

from inferctl.server import connections as module
from inferctl.server.call import SWALLOWED_BYTES
from inferctl.server.closing import MOST_WRITE_TIMEOUTS, Closing
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .loop import look_once, until
from .wire import LAST_CHUNK, Client, Service, head, packet, serving
from .wiring import working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
HEADERS = {"Host": "here", "Content-Type": JSON}
ASKING = packet(body=ROW, headers=HEADERS)
LIVEZ = packet("/livez", method="GET")
SOON_S = 0.05


async def ended(service: Service, *clients: Client) -> dict[str, int]:
    """Why these, and whoever else there was, are gone."""
    for client in clients:
        await client.leave()
    await service.connections_are_gone()
    assert service.connections._open.get() == 0
    return service.closed()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(LIVEZ, "client"), (ASKING, "client"), (packet(headers={"Connection": "close"}), "answered"),
     (packet("/livez", method="GET", headers={"Connection": "close"}), "answered")],
)  # fmt: skip
async def test_every_connection_is_counted_by_why_it_ended(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        clients = [await service.connect() for _ in range(3)]
        for client in clients:
            await client.ask(data)
        if reason == "client":
            assert worker.ledger.total("inferctl_connections") == 3
        assert await ended(service, *clients) == {reason: 3}


async def test_a_connection_that_is_idle_for_long_is_counted(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker, SOON_S) as service:
        clients = [await service.connect() for _ in range(2)]
        for client, data in zip(clients, (LIVEZ, ASKING), strict=True):
            await client.ask(data)
            assert await client.is_closed()
        assert await ended(service, *clients) == {"idle": 2}


async def test_a_connection_that_a_drain_ends_is_counted(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.ask(ASKING)
        await service.drain()
        assert await ended(service, client) == {"drain": 1}


# A client leaves.


@pytest.mark.row(17)
@pytest.mark.parametrize("sent", [0, 1, 30, len(ASKING) - len(ROW) - 1])
async def test_who_leaves_within_a_head_asked_nothing(tmp_path: Path, sent: int) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(ASKING[:sent])
        await until(lambda: service.server.server_state.connections)
        await look_once()
        assert await ended(service, client) == {"client": 1}
        assert not service.connections.heads._begun_s
        assert worker.ledger.total("inference_requests_total", 0, "client_gone") == 0
    assert worker.logged() == []


@pytest.mark.row(18)
@pytest.mark.parametrize("path", ["/predict", "/predic%74"])
@pytest.mark.parametrize("share", [0.1, 0.99])
async def test_who_leaves_within_a_body_costs_nothing(
    tmp_path: Path, path: str, share: float
) -> None:
    size = 100_000
    data = packet(path, ROW.ljust(size), headers=HEADERS)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(data[: int(size * share)])
        await until(lambda: worker.work.timeouts._begun_s)
        await look_once()
        assert await ended(service, client) == {"client": 1}
        await until(lambda: not worker.work.timeouts._begun_s)
        assert (worker.slots_in_use(), worker.engine.submitted.empty()) == (0, True)
        assert worker.work.intake.is_open
    assert [entry["outcome"] for entry in worker.logged()] == ["client_gone"]


@pytest.mark.row(22)
@pytest.mark.parametrize("data", [b"", ASKING[:9], ASKING[:-9], ASKING])
async def test_who_says_no_more_is_gone(tmp_path: Path, data: bytes) -> None:
    """A half-closed connection may be a closed one: nobody waits for the answer."""
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(data)
        if data == ASKING:
            await worker.slots_are_used(1)
        client.writer.write_eof()
        assert await client.is_closed()
        assert await ended(service) == {"client": 1}
        if data == ASKING:
            _, slot = await worker.engine.next()
            assert worker.models[0].arena.cancelled[slot]
    assert {entry["outcome"] for entry in worker.logged()} <= {"client_gone"}


# It had its last answer.


@pytest.mark.parametrize("path", ["/predict", "/predic%74", "/livez", "/nothing"])
async def test_who_sends_on_after_its_last_answer_sees_it(tmp_path: Path, path: str) -> None:
    """What is left unread would make the system reset the connection."""
    server = ServerSettings(max_body_bytes=SWALLOWED_BYTES)
    size = SWALLOWED_BYTES + 30_000
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        for _ in range(2):
            client = await service.connect()
            await client.send(packet(path, b" " * size, headers=HEADERS))
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            assert await client.is_closed()
            await client.send(b"and on")
            await client.leave()
        assert await ended(service) == {"answered": 2}


UNWANTED = head("/predict", {"Host": "elsewhere.org", "Transfer-Encoding": "chunked"}) + LAST_CHUNK


@pytest.mark.parametrize("path", ["/predict", "/predic%74"])
@pytest.mark.parametrize("is_ending", [False, True])
async def test_what_comes_in_one_packet_with_its_last_request_is_none(
    tmp_path: Path, path: str, is_ending: bool
) -> None:
    """It is heard for a while; a service that ends closes it at once."""
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        if is_ending:
            worker.predict.end()
        last, status = (packet(body=b"{}", headers=HEADERS), 422) if is_ending else (UNWANTED, 421)
        client = await service.connect()
        assert await client.is_refused(last + packet(path, ROW, headers=HEADERS), status)
        assert await ended(service, client) == {"answered": 1}
        assert worker.engine.submitted.empty()
    assert [entry["status"] for entry in worker.logged()] == [status]


@pytest.mark.parametrize(
    "end", [pytest.param("time", id="for long"), pytest.param("much", id="very much")]
)
async def test_who_sends_on_is_heard_for_a_while(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", SOON_S if end == "time" else 3600)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(b"nonsense\r\n\r\n")).status == 400
        if end == "time":
            await until(lambda: not service.server.server_state.connections)
        else:
            with pytest.raises(ConnectionError):
                await client.send(b" " * 20 * 2**20)
        assert list(await ended(service)) == ["protocol"]


# It does not take its answers.


async def stuffed(service: Service, size: int = 0) -> Client:
    """A client with more answers on their way than it and the system hold."""
    client = await service.connect(buffer_bytes=4096)
    await until(lambda: service.server.server_state.connections)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connection = service.only_connection
    while not connection.flow.write_paused:
        await client.send(ASKING)
        await look_once()
    return client


@pytest.mark.row(23)
async def test_who_takes_nothing_of_its_answers_is_cut_off(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, write_timeout_s=SOON_S) as service,
    ):
        client = await stuffed(service)
        await service.connections_are_gone()
        client.writer.transport.abort()
        assert await ended(service) == {"write_stall": 1}
        assert worker.slots_in_use() == 0


async def test_who_takes_a_little_of_its_answers_is_waited_for(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await stuffed(service)
        connection = service.only_connection
        assert connection in service.connections.unsent
        connection._unsent_bytes += 1  # it was more a while ago
        connection.answer_is_stuck()
        assert connection in service.connections.unsent
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await until(lambda: not connection.flow.write_paused)
        assert connection not in service.connections.unsent
        client.writer.transport.abort()
        assert await ended(service) == {"client": 1}


@pytest.mark.row(23)
async def test_who_takes_a_little_again_and_again_is_not_waited_for_for_ever(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await stuffed(service)
        connection = service.only_connection
        most_s = MOST_WRITE_TIMEOUTS * service.connections.limits.write_timeout_s
        for waited_s in (0, most_s):
            connection._unsent_bytes += 1
            connection._unsent_begun_s -= waited_s
            assert connection in service.connections.unsent
            connection.answer_is_stuck()
        assert connection.transport.is_closing()
        client.writer.transport.abort()
        assert await ended(service) == {"write_stall": 1}


@pytest.mark.parametrize("close", ["idle", "drain"])
async def test_a_connection_that_is_closed_is_not_waited_for_for_ever(
    tmp_path: Path, close: str
) -> None:
    """Its last answers would have to leave first."""
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, write_timeout_s=SOON_S) as service,
    ):
        client = await stuffed(service)
        connection = service.only_connection
        connection.leave(close)
        connection.resume_writing()  # it took a part, and then nothing any more
        assert connection in service.connections.unsent
        await service.connections_are_gone()
        client.writer.transport.abort()
        assert await ended(service) == {"write_stall": 1}


async def test_who_is_given_time_anew_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client, unsent = await stuffed(service), service.connections.unsent
        other = cast(Closing, object())
        unsent.begin(other, time.monotonic())
        service.only_connection.leave("idle")
        assert next(iter(unsent._begun_s)) is other
        unsent.end(other, None)
        client.writer.transport.abort()
        assert await ended(service) == {"idle": 1}


# There is no room.


async def crowd(service: Service, count: int, data: bytes) -> list[Client]:
    """So many connections, from the oldest to the youngest, each answered or silent."""
    clients = []
    for number in range(count):
        client = await service.connect()
        if data:
            await client.ask(data)
        else:
            await until(lambda: len(service.server.server_state.connections) > number)  # noqa: B023 - called here
        clients.append(client)
    return clients


@pytest.mark.row(31)
@pytest.mark.parametrize("data", [ASKING, LIVEZ, b""])
async def test_who_waits_longest_makes_room(tmp_path: Path, data: bytes) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, max_connections=5) as service,
    ):
        clients = await crowd(service, 5, data)
        for oldest in clients[:3]:
            new = await service.connect()
            assert (await new.ask(ASKING)).status == 200
            assert await oldest.is_closed()
            clients.append(new)
        for client in clients[3:]:
            assert (await client.ask(ASKING)).status == 200
        assert await ended(service, *clients) == {"evicted": 3, "client": 5}


async def test_the_room_of_who_takes_nothing_is_made_at_once(tmp_path: Path) -> None:
    """Its last answers would have to leave first."""
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, max_connections=1) as service,
    ):
        client = await stuffed(service)
        new = await service.connect()
        assert (await new.ask(ASKING)).status == 200
        assert service.connections._open.get() == 1
        client.writer.transport.abort()
        assert await ended(service, new) == {"evicted": 1, "client": 1}


async def test_half_a_head_makes_room_too(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, max_connections=3) as service,
    ):
        clients = await crowd(service, 3, b"")
        for client in clients:
            await client.send(ASKING[:9])
        await until(lambda: len(service.connections.heads._begun_s) == 3)
        new = await service.connect()
        assert (await new.ask(ASKING)).status == 200
        assert await ended(service, new, *clients) == {"evicted": 1, "client": 3}


@pytest.mark.parametrize("was_idle_s", [0.0, 2.0])
async def test_before_there_is_no_room_those_go_that_were_idle_for_long(
    tmp_path: Path, was_idle_s: float
) -> None:
    """A client that asks again and again is not cut off while there is room."""
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, max_connections=10) as service,
    ):
        clients = await crowd(service, 8, ASKING)
        idle = service.connections.idle._begun_s
        for connection in idle:
            idle[connection] -= was_idle_s
        clients.append(await service.connect())
        assert (await clients[-1].ask(ASKING)).status == 200
        assert (await clients[1].ask(ASKING)).status == 200
        closed = await ended(service, *clients)
        assert closed.get("evicted", 0) == bool(was_idle_s)


async def test_who_is_in_work_is_never_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY_S", SOON_S)
    async with (
        working(tmp_path, numbers(), verdict=None) as worker,
        serving(worker, max_connections=2) as service,
    ):
        clients = [await service.connect() for _ in range(2)]
        await clients[0].send(ASKING)
        await clients[1].send(head("/predict", HEADERS | {"Content-Length": "40"}) + b" ")
        row = await worker.engine.next()
        await until(lambda: service.connections.bodies.oldest())
        for _ in range(3):
            assert await (await service.connect()).is_closed()
        await until(lambda: service.turned_away)
        assert service.turned_away == [3]
        worker.engine.answer(row)
        assert (await clients[0].answer()).status == 200
        assert await ended(service, *clients) == {"client": 2, "conn_cap": 3}


async def test_the_limit_is_one_for_all_workers(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, max_connections=5) as service,
    ):
        others = worker.ledger.blocks[0].cell("inferctl_connections")
        others.set(4)
        first, second = await crowd(service, 1, ASKING), await crowd(service, 1, ASKING)
        assert await first[0].is_closed()
        others.set(0)
        assert await ended(service, *first, *second) == {"evicted": 1, "client": 1}


async def test_a_process_has_room_for_so_many_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = module.OTHER_DESCRIPTORS + 3
    monkeypatch.setattr(module, "soft_descriptor_limit", lambda: limit)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        clients = await crowd(service, 5, ASKING)
        assert await asyncio.gather(*(client.is_closed() for client in clients[:2])) == [True] * 2
        assert await ended(service, *clients) == {"evicted": 2, "client": 3}


@pytest.mark.parametrize(("soft", "limit"), [(256, 256), (-1, 2**63 - 1)])
def test_a_system_may_set_no_limit(soft: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (soft, -1))
    assert module.soft_descriptor_limit() == limit


@pytest.mark.row(187, 189)
async def test_a_connection_that_is_over_is_let_go_at_once(tmp_path: Path) -> None:
    """Whichever way its requests went, and whether they were answered: the collector need not look
    for it."""
    unread = packet("/predict", ROW, headers=HEADERS) + 2 * LIVEZ
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        gc.collect()
        gc.freeze()  # what there was before is not looked at
        gc.disable()
        try:
            await service.ask("/livez", method="GET")
            await service.ask("/nothing", method="GET")
            await service.ask(headers={"Expect": "100-continue"})
            await (await service.connect()).send(unread)
            await ended(service, *service.clients)
            await until(lambda: not any(issubclass(type(o), Closing) for o in gc.get_objects()))
        finally:
            gc.unfreeze()
            gc.enable()
