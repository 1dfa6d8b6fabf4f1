"""What is no HTTP, or says two things at once; and what looks like another protocol."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from inferctl.arena import routes
from inferctl.server.metrics import Exposition
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .wire import LAST_CHUNK, chunks, head, packet, serving
from .wiring import working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
HEADERS = {"Host": "here", "Content-Type": JSON}
ASKING = packet(body=ROW, headers=HEADERS)
LIVEZ = packet("/livez", method="GET")


def post(*headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"POST /predict HTTP/1.1", b"Host: here", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


MALFORMED = {
    "CL and TE": post(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
    "TE and CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 1"),
    "two CL": post(b"Content-Length: 1", b"Content-Length: 2"),
    "two same CL": post(b"Content-Length: 1", b"Content-Length: 1"),
    "CL list": post(b"Content-Length: 1, 1"),
    "CL below 0": post(b"Content-Length: -5"),
    "CL with a sign": post(b"Content-Length: +5"),
    "CL of 24 digits": post(b"Content-Length: 100000000000000000000000"),
    "CL hexadecimal": post(b"Content-Length: 0x10"),
    "two TE": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "TE in HTTP/1.0": post(b"Transfer-Encoding: chunked").replace(b"1.1", b"1.0"),
    "bare LF": b"GET /livez HTTP/1.1\nHost: here\n\n",
    "bare LF in headers": b"GET /livez HTTP/1.1\r\nHost: here\n\r\n",
    "bare CR": b"GET /livez HTTP/1.1\r\nHost: here\rX: y\r\n\r\n",
    "NUL in a header": post(b"X: a\0b"),
    "control character in a header": post(b"X: a\x1b[31mb"),
    "NUL in the target": b"GET /li\0vez HTTP/1.1\r\nHost: here\r\n\r\n",
    "obs-fold": post(b"X: a", b" b"),
    "no Host": b"GET /livez HTTP/1.1\r\n\r\n",
    "no Host to predict": post(b"Content-Length: 2", body=b"{}").replace(b"Host: here\r\n", b""),
    "two Hosts": b"GET /livez HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
    "HTTP/0.9": b"GET /livez\r\n",
    "HTTP/0.9 with headers": b"GET /livez\r\nHost: here\r\n",
    "HTTP/0.9 that says so": b"GET /livez HTTP/0.9\r\nHost: here\r\n\r\n",
    "HTTP/2.0": b"GET /livez HTTP/2.0\r\nHost: here\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "space before colon": post(b"X : a"),
    "no colon": post(b"X"),
    "no name": post(b": a"),
    "space in the target": b"GET /li vez HTTP/1.1\r\nHost: here\r\n\r\n",
    "not ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: here\r\n\r\n",
    "no path": b"GET http://here HTTP/1.1\r\nHost: here\r\n\r\n",
    "tunnel": b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.row(34)
@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_malformed_is_refused(tmp_path: Path, data: bytes, size: int) -> None:
    """And nothing of it is taken for a request, on a connection that is new or not."""
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        if b"GET /livez\r\n" not in data:  # it is spoken by no client that asked before
            assert (await client.ask(ASKING)).status == 200
        await client.send_in_pieces(data[:-size], size)
        assert await client.is_refused(data[-size:], 400)
        await client.leave()
        await service.connections_are_gone()
        assert service.closed() == {"protocol": 1}
        assert worker.slots_in_use() == 0
    assert {entry["status"] for entry in worker.logged()} <= {200}


@pytest.mark.row(34)
async def test_a_body_that_is_packed_on_its_way_is_not_unpacked(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert await client.is_refused(post(b"Transfer-Encoding: gzip, chunked"), 501)


@pytest.mark.parametrize("path", ["/predict", "/predic%74"])
async def test_what_is_behind_a_body_says_nothing(tmp_path: Path, path: str) -> None:
    """The head was judged without it."""
    data = head(path, HEADERS | {"Transfer-Encoding": "chunked"}) + chunks(ROW)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(data + b"0\r\nX-Request-Id: mine\r\n\r\n")
        assert answer.status == 200
        assert answer.headers["x-request-id"] != "mine"
        assert (await client.ask(ASKING)).status == 200


@pytest.mark.parametrize("before", [LIVEZ, ASKING])
async def test_what_came_before_is_answered_and_nothing_after(
    tmp_path: Path, before: bytes
) -> None:
    """An error would be taken for the answer of what came before."""
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(before * 3 + b"nonsense\r\n\r\n" + LIVEZ)
        assert answer.status == 200
        answers = [await client.answer() for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 200]
        assert answers[-1].headers["connection"] == "close"
        assert await client.is_closed()


UPGRADES = [("websocket", ""), ("h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n")]


@pytest.mark.row(43)
@pytest.mark.parametrize(("protocol", "more"), UPGRADES)
@pytest.mark.parametrize("size", [7, 100_000])
async def test_another_protocol_is_not_gone_over_to(
    tmp_path: Path, protocol: str, more: str, size: int
) -> None:
    """The request is answered as it is; its body is a body, and not the next request."""
    upgrade = f"Upgrade: {protocol}\r\nConnection: Upgrade, HTTP2-Settings\r\n{more}".encode()
    body = ROW + LIVEZ
    requests = [
        packet(body=ROW, headers=HEADERS),
        packet("/predic%74", ROW, headers=HEADERS),
        LIVEZ,
        head("/predict", HEADERS | {"Transfer-Encoding": "chunked"}) + chunks(ROW) + LAST_CHUNK,
        packet(body=body, headers=HEADERS),
    ]
    statuses = [200, 200, 200, 200, 400]
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(2):
            for request, status in zip(requests, statuses, strict=True):
                data = request.replace(b"Host: here\r\n", b"Host: here\r\n" + upgrade, 1)
                await client.send_in_pieces(data, size)
                answer = await client.answer()
                assert (answer.status, "upgrade" in answer.headers) == (status, False)
                assert (await client.ask(ASKING)).status == 200
        await client.send((LIVEZ.replace(b"Host", upgrade + b"Host", 1)) * 50)
        assert {(await client.answer()).status for _ in range(50)} == {200}


ROUTES = ("/predict", "/livez", "/metrics", "/models", "/models/sums", "/v2/health/ready", "/none")


def series(exposition: Exposition) -> set[bytes]:
    """All but those that count the known routes: of these there are so many and no more."""
    known = tuple(f'route="{route}"'.encode() for route in routes.ROUTES)
    lines = exposition.render().splitlines()
    return {line.rpartition(b" ")[0] for line in lines if not any(one in line for one in known)}


@pytest.mark.row(41)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "SOURCE"])
async def test_a_method_that_a_path_does_not_take_is_refused(tmp_path: Path, method: str) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        for path in ROUTES:
            client = await service.connect()
            await client.send(packet(path, method=method))
            start = await client.reader.readuntil(b"\r\n\r\n")
            assert int(start.split()[1]) == (404 if path == "/none" else 405), path
        assert not any(method.encode() in name for name in series(worker.exposition))


@pytest.mark.row(41)
async def test_a_method_that_does_not_exist_is_malformed(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        exposition = worker.exposition
        before = series(exposition)
        for number in range(200):
            client = await service.connect()
            data = packet(f"/{number}", method=f"ODD{number}")
            assert await client.is_refused(data, 400)
            await client.leave()
        assert series(exposition) == before
    assert worker.logged() == []


@pytest.mark.row(42)
async def test_very_many_paths_leave_nothing_behind(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        counts = set()
        for number in range(1000):
            for path in (f"/{number}", f"/models/{number}/predict"):
                assert (await client.ask(packet(path, b"{}", headers=HEADERS))).status == 404
            if number in (0, 999):
                counts.add(len(series(worker.exposition)))
        assert len(counts) == 1
        assert len(worker.predict.known_heads) == 0


JUNK = {
    "long": b"x" * 7000, "UTF-8": "ä".encode(), "spaces": b"a b", "quotes": b'","status":200,"a":"',
    "escaped": b"%0d%0aX: y", "empty": b"",
}  # fmt: skip


@pytest.mark.row(44)
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("path", [b"/predict", b"/predic%74", b"/models"])
async def test_an_id_that_is_junk_is_replaced(tmp_path: Path, junk: bytes, path: bytes) -> None:
    method = b"GET" if path == b"/models" else b"POST"
    headers = b"X-Request-Id: %b\r\nTraceparent: %b\r\nBaggage: %b" % (junk, junk, junk)
    data = b"%b %b HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n%b\r\n" % (
        method, path, headers,
    )  # fmt: skip
    data += b"Content-Length: %d\r\n\r\n%b" % (len(ROW), ROW)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        answers = [await client.ask(data) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 200]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert len(set(ids)) == 2
        assert all(given.isalnum() for given in ids)
    assert [entry["request_id"] for entry in worker.logged()] == ids
    assert not junk or junk not in worker.log_path.read_bytes()


@pytest.mark.row(44)
@pytest.mark.parametrize(
    "path", [b"/a%0a%7b%22status%22:200%7d%0a", b"/%1b[31m", b"/" + b"x" * 8000]
)
async def test_a_path_forges_no_line_of_the_log(tmp_path: Path, path: bytes) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % path)).status == 404
    (entry,) = worker.logged()
    assert (entry["status"], len(entry["path"]) <= 256) == (404, True)
    assert b"\x1b" not in worker.log_path.read_bytes()
