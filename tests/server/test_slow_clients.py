"""What may come how slowly; and what clients hear that are slower."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .loop import until
from .wire import LAST_CHUNK, chunks, head, packet, serving
from .wiring import few_slots, working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
HEADERS = {"Host": "here", "Content-Type": JSON}
CHUNKED = HEADERS | {"Transfer-Encoding": "chunked"}
ASKING = packet(body=ROW, headers=HEADERS)
HEAD = b"GET /livez HTTP/1.1\r\nHost: here\r\n"
PATIENT = ServerSettings(request_timeout_ms=60_000)
SOON_S = 0.05


@pytest.mark.row(30)
@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n" * 100])
async def test_a_client_that_says_nothing_is_left_without_a_word(
    tmp_path: Path, data: bytes
) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, first_byte_timeout_s=SOON_S) as service,
    ):
        client = await service.connect()
        await client.send(data)
        assert await client.is_closed()
        await service.connections_are_gone()
        assert service.closed() == {"first_byte": 1}


@pytest.mark.row(28)
@pytest.mark.parametrize("answered", [0, 1, 2])
@pytest.mark.parametrize("sent", [1, 30, len(ASKING) - len(ROW) - 1])
async def test_a_head_that_does_not_become_complete_is_too_late(
    tmp_path: Path, answered: int, sent: int
) -> None:
    async with (
        working(tmp_path, numbers()) as worker,
        serving(worker, header_timeout_s=SOON_S) as service,
    ):
        client = await service.connect()
        for _ in range(answered):
            assert (await client.ask(ASKING)).status == 200
        assert await client.is_refused(ASKING[:sent], 408)
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"header_timeout": 1}
    assert len(worker.logged()) == answered


@pytest.mark.row(28)
async def test_a_head_that_comes_byte_by_byte_has_no_more_time(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(HEAD)
        await until(lambda: service.connections.heads.oldest())
        first = service.connections.heads.oldest()
        await client.send_in_pieces(b"a: b\r\n" * 5, 1)
        assert service.connections.heads.oldest() == first
        assert (await client.ask(b"\r\n")).status == 200
        assert service.connections.heads.oldest() is None


@pytest.mark.row(28)
async def test_a_head_that_we_do_not_read_is_not_late(tmp_path: Path) -> None:
    """While two requests are in work nothing more is read."""
    async with (
        working(tmp_path, numbers(), server=PATIENT, verdict=None) as worker,
        serving(worker, header_timeout_s=SOON_S) as service,
    ):
        client = await service.connect()
        await client.send(ASKING * 2 + ASKING[:30])
        row = await worker.engine.next()
        await client.send(ASKING[30:])
        begun_s = service.connections.heads._begun_s
        first_s = begun_s[service.only_connection]
        await until(lambda: begun_s.get(service.only_connection) != first_s)
        worker.engine.verdict = Verdict.DONE
        worker.engine.answer(row)
        for _ in range(3):
            assert (await client.answer()).status == 200


BEGUN = {
    "announced": (head("/predict", HEADERS | {"Content-Length": "50000"}), b" " * 100),
    "chunked": (head("/predict", CHUNKED), chunks(ROW)),
    "announced over ASGI": (head("/predic%74", HEADERS | {"Content-Length": "50000"}), b" " * 100),
    "chunked over ASGI": (head("/predic%74", CHUNKED), chunks(ROW)),
    "short": (head("/predict", HEADERS | {"Content-Length": "40"}), b""),
    "short over ASGI": (head("/predic%74", HEADERS | {"Content-Length": "40"}), b""),
}


@pytest.mark.row(29)
@pytest.mark.parametrize(("start", "part"), BEGUN.values(), ids=BEGUN)
@pytest.mark.parametrize("known", [False, True])
async def test_a_body_that_does_not_become_complete_is_too_late(
    tmp_path: Path, start: bytes, part: bytes, known: bool
) -> None:
    async with (
        working(tmp_path, numbers(), server=PATIENT) as worker,
        serving(worker, body_timeout_s=SOON_S) as service,
    ):
        client = await service.connect()
        if known:
            whole = start + (part + LAST_CHUNK if b"chunked" in start else ROW.ljust(50000))
            await client.ask(whole[: len(start) + 40] if b": 40" in start else whole)
        assert await client.is_refused(start + part, 408)
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"body_timeout": 1}
    assert worker.logged()[-1]["outcome"] == "request_timeout"
    assert worker.ledger.total("inference_requests_total", 0, "request_timeout") == 1


@pytest.mark.parametrize("start", [BEGUN["announced"][0], BEGUN["chunked"][0]])
async def test_what_came_of_a_body_gives_the_rest_more_time(tmp_path: Path, start: bytes) -> None:
    limits = {"body_timeout_s": SOON_S, "min_body_bytes_per_s": 1, "max_body_timeout_s": 3600}
    body = ROW.ljust(50_000)
    rest = chunks(body[:9], body[9:]) + LAST_CHUNK if b"chunked" in start else body
    async with (
        working(tmp_path, numbers(), server=PATIENT) as worker,
        serving(worker, **limits) as service,
    ):
        client = await service.connect()
        await client.send_in_pieces(start + rest[:100], 50)
        await until(lambda: service.only_connection._body_timer)
        assert (await client.ask(rest[100:])).status == 200
        assert not service.only_connection._body_timer


async def test_a_body_that_comes_slowly_has_not_for_ever(tmp_path: Path) -> None:
    limits = {"body_timeout_s": SOON_S, "min_body_bytes_per_s": 1, "max_body_timeout_s": 2 * SOON_S}
    async with (
        working(tmp_path, numbers(), server=PATIENT) as worker,
        serving(worker, **limits) as service,
    ):
        client = await service.connect()
        start, part = BEGUN["announced"]
        assert await client.is_refused(start + part, 408)


@pytest.mark.row(29)
@pytest.mark.parametrize("path", ["/predict", "/predic%74"])
@pytest.mark.parametrize("framing", [{"Content-Length": "50000"}, CHUNKED])
async def test_a_body_in_very_many_packets_has_no_more_time(
    tmp_path: Path, path: str, framing: dict[str, str]
) -> None:
    limits = {"body_timeout_s": SOON_S, "min_body_bytes_per_s": 1, "max_body_timeout_s": 3 * SOON_S}
    piece = chunks(b" ") if framing is CHUNKED else b" "
    async with (
        working(tmp_path, numbers(), server=PATIENT) as worker,
        serving(worker, **limits) as service,
    ):
        client = await service.connect()
        await client.send(head(path, HEADERS | framing))
        await until(lambda: service.connections.bodies.oldest())
        connection = service.only_connection
        begun_s = connection._body_begun_s
        while not connection._is_deaf:
            await client.feed([piece])
        assert connection._body_begun_s == begun_s
        assert (await client.answer()).status == 408
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"body_timeout": 1}


async def test_a_body_that_was_left_with_its_client_is_not_late(tmp_path: Path) -> None:
    crowded = {"settings": few_slots(max_concurrent=1), "verdict": None}
    little_room = ServerSettings(max_waiting_body_bytes=1024, request_timeout_ms=60_000)
    async with (
        working(tmp_path, numbers(), server=little_room, **crowded) as worker,
        serving(worker, body_timeout_s=SOON_S) as service,
    ):
        data = packet(body=ROW.ljust(20_000), headers=HEADERS)
        clients = [await service.connect() for _ in range(3)]
        for place, client in enumerate(clients):
            await client.send(data)
            await worker.slots_are_used(place + 1)
        *_, (left, begun_s) = service.connections.bodies._begun_s.items()
        await until(lambda: service.connections.bodies._begun_s.get(left, begun_s) > begun_s)
        for client in clients:
            worker.engine.answer(await worker.engine.next())
            assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "start",
    [head("/livez", HEADERS | {"Content-Length": "40"}), head("/livez", CHUNKED),
     head("/predict", {"Host": "here", "Content-Length": "40", "X-Priority": "x"}),
     head("/predict", {"Host": "elsewhere.org", "Content-Length": "40"})],
)  # fmt: skip
async def test_a_body_that_nobody_wants_is_not_waited_for_for_long(
    tmp_path: Path, start: bytes
) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker, body_timeout_s=SOON_S) as s:
        client = await s.connect()
        assert (await client.ask(start)).status in (400, 405, 421)
        assert await client.is_closed(), "and hears nothing more"
        await client.leave()
        await s.connections_are_gone()
        assert s.closed() == {"body_timeout": 1}
