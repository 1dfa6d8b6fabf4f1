"""Abuse, family by family: the rows 17 to 67 that a client may do again and again.

Each is done so many times at once or one after the other; what the server answers is for other
tests to judge. Those that wait for the server to lose its patience are apart.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.faults import bad
from tests.faults.bad import MOOD, TEXT
from tests.faults.kept import READ_BYTES, Address, Hang, Kept, NoAnswer, post
from tests.faults.pictures import b64, png, scan_bomb, text_bomb

Abuse = Callable[[Address, int], None]

MIB = 1024 * 1024
HEAD = b"POST /models/mood/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
KIND = b"Content-Type: application/json\r\n"
PATIENCE_S = 30.0
# The largest body, as much again that is read in vain, and what systems hold.
ENDLESS_BYTES = 64 * MIB


def _each(requests: list[bytes]) -> Abuse:
    """Ask each of them so many times, on a connection that is kept where the server keeps it."""

    def ask(address: Address, times: int) -> None:
        with Kept(address) as client:
            for _ in range(times):
                for request in requests:
                    # A refusal may come, and the connection end, while the rest is on its way.
                    with suppress(NoAnswer):
                        client.ask(request, PATIENCE_S)

    return ask


def _all(bads: list[bad.Bad]) -> Abuse:
    return _each([one.request for one in bads])


@contextmanager
def connections(address: Address, count: int) -> Iterator[list[socket.socket]]:
    """So many at a time."""
    with ExitStack() as stack:
        opened = [socket.create_connection(address, PATIENCE_S) for _ in range(count)]
        for one in opened:
            stack.enter_context(one)
        yield opened


def _said_until_closed(data: bytes) -> Abuse:
    """Say half of something on each of many connections, and wait until the server ends them."""

    def wait(address: Address, times: int) -> None:
        with connections(address, times) as opened:
            for one in opened:
                one.sendall(data)
            for one in opened:
                while _received(one):
                    continue

    return wait


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(READ_BYTES)
    except TimeoutError:
        raise Hang(b"") from None
    except OSError:
        return b""


def _left(data: bytes) -> Abuse:
    """Say half of something, and leave."""

    def leave(address: Address, times: int) -> None:
        for _ in range(times):
            with connections(address, 1) as (one,):
                one.sendall(data)

    return leave


def _endless(start: bytes, more: bytes) -> Abuse:
    """Go on until the server has had enough, which it must have had in time."""

    def go_on(address: Address, times: int) -> None:
        for _ in range(times):
            with connections(address, 1) as (one,), suppress(ConnectionError):
                one.sendall(start)
                for _ in range(ENDLESS_BYTES // len(more)):
                    one.sendall(more)
                raise Hang(start)

    return go_on


def _chunks(count: int, extension: bytes = b"") -> bytes:
    """A body of one-byte chunks that is longer than what it says."""
    chunked = HEAD + KIND + b"Transfer-Encoding: chunked\r\n\r\n"
    return chunked + b"1%b\r\n \r\n" % extension * count + b"0\r\n\r\n"


def _json(*bodies: bytes) -> Abuse:
    return _each([post(MOOD, body) for body in bodies])


def _large_pictures() -> Abuse:
    bombs = (scan_bomb(200), scan_bomb(1000, side=512), text_bomb())
    bodies = (png(12_000, 12_000), png(4000, 4000), *bombs)
    raw = [post(bad.ANIMALS, body, "image/png") for body in bodies]
    encoded = b64(b"\x89PNG" + bytes(10 * MIB)).encode()
    return _each([*raw, post(bad.ANIMALS, b'{"image_b64":"%b"}' % encoded)])


EXPECT = HEAD + KIND + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
UPGRADES = [
    post(MOOD, TEXT, "application/json", "Connection: Upgrade", f"Upgrade: {name}")
    for name in ("websocket", "h2c")
]
IDENTITIES = [
    post(MOOD, TEXT, "application/json", f"{name}: {text}")
    for name in ("X-Request-ID", "traceparent")
    for text in ("a" * 4000, "\x1b[31m", "\u00e9", "a b")
]
PATHS = [post(f"/nobody/{number}", b"") for number in range(20)]

# By the rows of docs/reliability.md; what is done is quick.
QUICK: dict[str, Abuse] = {
    "17 half a head": _left(HEAD + b"X-A: b"),
    "18 half a body": _left(HEAD + KIND + b"Content-Length: 100000\r\n\r\n" + bytes(90_000)),
    "26 connect and leave": _left(b""),
    "32 a long header": _endless(HEAD + b"X-A: ", b"a" * 64 * 1024),
    "32 many headers": _endless(HEAD, b"".join(b"X-%d: a\r\n" % n for n in range(2000))),
    "33 a long URL": _endless(b"POST /", b"a" * 64 * 1024),
    "34 framing": _all(bad.framing()),
    "36 chunks": _each([_chunks(2_000)]),
    "36 a chunk's extension": _each([_chunks(1, b";" + b"a" * MIB)]),
    "36 endless chunks": _endless(_chunks(1)[:-5], b"10000\r\n%b\r\n" % bytes(65536)),
    "37 a body over the limit": _each([HEAD + KIND + b"Content-Length: 99999999\r\n\r\n"]),
    "37 a body at the limit": _each([post(MOOD, b" " * 14 * MIB)]),
    "38 to 42 heads": _all(bad.heads()),
    "39 expect": _each([EXPECT]),
    "42 paths": _each(PATHS),
    "43 upgrades": _each(UPGRADES),
    "44 ids": _each(IDENTITIES),
    "47 to 50 JSON": _all(bad.parsing()),
    "48 depth": _json(b'{"text":' + b"[" * 100_000, b'{"a":' + b"[" * 100_000),
    "52 unknown keys": _json(b"{%b}" % b",".join(b'"k%d":1' % n for n in range(500_000))),
    "53 numbers": _json(b'{"text":[%b]}' % b",".join([b"1"] * 2_000_000)),
    "55 base64": _all(bad.base64s()),
    "57 to 67 images": _all(bad.images()),
    "57 to 65 large images": _large_pictures(),
    "72 texts": _all(bad.texts()),
    "77 tensors": _all(bad.tensors()),
}
# And what takes as long as the server is patient.
SLOW: dict[str, Abuse] = {
    "28 slow headers": _said_until_closed(HEAD + b"X-A: b"),
    "29 slow body": _said_until_closed(HEAD + KIND + b"Content-Length: 1000\r\n\r\n{"),
    "30 silence": _said_until_closed(b""),
}
IMPATIENT = (
    "server.first_byte_timeout_s=0.5", "server.header_timeout_s=0.5", "server.body_timeout_s=0.5",
)  # fmt: skip
