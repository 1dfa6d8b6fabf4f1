"""How much clients may send; and what they hear when it is too much."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from inferctl.server.call import SWALLOWED_BYTES
from inferctl.server.guarded import MAX_PIPELINED
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .loop import look_once, until
from .wire import LAST_CHUNK, Service, chunks, head, packet, serving
from .wiring import working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
HEADERS = {"Host": "here", "Content-Type": JSON}
CHUNKED = HEADERS | {"Transfer-Encoding": "chunked"}
ASKING = packet(body=ROW, headers=HEADERS)
HEAD = b"GET /livez HTTP/1.1\r\nHost: here\r\n"
# The second one is written so that it goes over ASGI.
PATHS = ("/predict", "/predic%74")


def with_headers(*headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def long_header(size: int) -> bytes:
    """With its end of line it has this size."""
    return b"a: ".ljust(size - 2, b"x")


def target(size: int) -> bytes:
    """A request whose line has this size."""
    url = b"/livez?".ljust(size - len(b"GET  HTTP/1.1"), b"x")
    return b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % url


KIB = 1024
SIZES = {
    "header below the limit": (with_headers(long_header(8 * KIB - 1)), 200),
    "header at the limit": (with_headers(long_header(8 * KIB)), 200),
    "header over the limit": (with_headers(long_header(8 * KIB + 1)), 431),
    "8 MiB header": (with_headers(long_header(8 * KIB * KIB)), 431),
    "100 headers": (with_headers(*[b"a: b"] * 99), 200),
    "101 headers": (with_headers(*[b"a: b"] * 100), 431),
    "100,000 headers": (with_headers(*[b"a: b"] * 100_000), 431),
    "head at the limit": (
        with_headers(*[long_header(8 * KIB)] * 3, long_header(8 * KIB - 12)), 200,
    ),
    "head over the limit": (
        with_headers(*[long_header(8 * KIB)] * 3, long_header(8 * KIB - 11)), 431,
    ),
}  # fmt: skip
LINES = {
    "line at the limit": (target(8 * KIB), 200),
    "line over the limit": (target(8 * KIB + 1), 414),
    "64 KiB": (target(64 * KIB), 414),
    "1 MiB": (target(KIB * KIB), 414),
}


async def assert_answered(service: Service, data: bytes, status: int, size: int) -> None:
    client = await service.connect()
    if status == 200:
        await client.send_in_pieces(data, size)
        assert (await client.answer()).status == 200
        assert (await client.ask(ASKING)).status == 200
    else:
        assert await client.is_refused(data, status)
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"header_too_large": 1}


@pytest.mark.parametrize("size", [1009, 100_000_000])
@pytest.mark.parametrize(
    ("data", "status"),
    [pytest.param(*given, id=name, marks=pytest.mark.row(32)) for name, given in SIZES.items()]
    + [pytest.param(*given, id=name, marks=pytest.mark.row(33)) for name, given in LINES.items()],
)
async def test_a_head_may_be_so_large(tmp_path: Path, data: bytes, status: int, size: int) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        await assert_answered(service, data, status, size)


ENDLESS = {
    "header": (HEAD + b"a: ", b"x"),
    "headers": (HEAD, b"a: b\r\n"),
    "line": (b"GET ", b" "),
}


@pytest.mark.row(32, 33)
@pytest.mark.parametrize(("start", "rest"), ENDLESS.values(), ids=ENDLESS)
async def test_a_head_that_never_ends_ends_at_the_limit(
    tmp_path: Path, start: bytes, rest: bytes
) -> None:
    """However it is cut, and whether the parser says a word of it."""
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(start)
        await until(lambda: service.server.server_state.connections)
        connection = service.only_connection
        while not connection._is_deaf:
            await client.send_in_pieces(rest * 600, 600)
            assert connection._message.fed_bytes < 48 * KIB
        assert (await client.answer()).status == 431


@pytest.mark.row(36)
@pytest.mark.parametrize("path", PATHS)
async def test_a_body_may_come_in_very_many_chunks(tmp_path: Path, path: str) -> None:
    body = ROW.ljust(65_537)
    data = head(path, CHUNKED) + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + LAST_CHUNK
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(data)).status == 200
        assert (await client.ask(ASKING)).status == 200


@pytest.mark.row(36)
@pytest.mark.parametrize("path", [*PATHS, "/livez"])
@pytest.mark.parametrize(
    "endless",
    [b"1;" + b"x" * 2**20 + b"\r\n \r\n", (b"1;" + b"x" * 100 + b"\r\n \r\n") * 10_000,
     chunks(b" " * 1000) * 1000, b"0" * 2**20],
    ids=["a long extension", "many extensions", "chunks without end", "a length without end"],
)  # fmt: skip
async def test_what_is_around_a_body_is_bounded_too(
    tmp_path: Path, path: str, endless: bytes
) -> None:
    server = ServerSettings(max_body_bytes=SWALLOWED_BYTES)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(head(path, CHUNKED) + endless)
        assert answer.status == (405 if path == "/livez" else 413)
        await client.reader.read()
        await client.leave()
        await service.connections_are_gone()
        assert list(service.closed()) in (["too_large"], ["answered"])
    if path != "/livez":
        assert [entry["outcome"] for entry in worker.logged()] == ["too_large"]


@pytest.mark.row(37)
@pytest.mark.parametrize("path", ["/livez", "/nothing", "/models/nothing/predict"])
async def test_a_body_that_is_announced_too_large_is_refused_wherever_it_goes(
    tmp_path: Path, path: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        size = SWALLOWED_BYTES + 1
        assert await client.is_refused(head(path, HEADERS | {"Content-Length": str(size)}), 413)
    (entry,) = worker.logged()
    assert (entry["path"], entry["status"]) == (path, 413)


async def test_a_refusal_waits_for_its_turn(tmp_path: Path) -> None:
    server = ServerSettings(max_body_bytes=1024)
    refused = head("/livez", HEADERS | {"Content-Length": str(SWALLOWED_BYTES + 1)})
    async with (
        working(tmp_path, numbers(), server=server, verdict=None) as worker,
        serving(worker) as service,
    ):
        client = await service.connect()
        await client.send(ASKING + refused)
        worker.engine.answer(await worker.engine.next())
        assert (await client.answer()).status == 200
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.is_closed()


async def test_a_refusal_of_head_has_no_body(tmp_path: Path) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(head("/livez", HEADERS | {"Content-Length": "1025"}, "HEAD"))
        answer = await client.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        await client.send(b" " * 1025)
        assert (await client.ask(ASKING)).status == 200


@pytest.mark.row(39)
@pytest.mark.parametrize("path", [*PATHS, "/livez"])
async def test_a_client_that_asks_whether_to_send_what_is_too_large_is_told_no(
    tmp_path: Path, path: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    headers = HEADERS | {"Content-Length": "1025", "Expect": "100-continue"}
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        assert await (await service.connect()).is_refused(head(path, headers), 413)


@pytest.mark.row(39)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", [{"Content-Type": "text/x"}, {"Content-Encoding": "gzip"}])
async def test_a_client_that_asks_whether_to_send_what_is_not_taken_is_told_no(
    tmp_path: Path, path: str, kind: dict[str, str]
) -> None:
    headers = HEADERS | kind | {"Content-Length": "40", "Expect": "100-continue"}
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        assert await (await service.connect()).is_refused(head(path, headers), 415)


async def test_very_many_requests_at_once_are_too_many(tmp_path: Path) -> None:
    """Each of them costs many times its bytes."""
    many = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n" * 2000
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(head("/predict", CHUNKED) + chunks(ROW))
        await look_once()
        await client.send(LAST_CHUNK + many)
        row = await worker.engine.next()
        assert len(service.only_connection.pipeline) <= MAX_PIPELINED
        worker.engine.answer(row)
        answers = [await client.answer() for _ in range(MAX_PIPELINED + 1)]
        assert {answer.status for answer in answers} == {200}
        assert await client.is_closed()
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"protocol": 1}
