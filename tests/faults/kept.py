"""A connection that is kept, for bytes that no client of ours would send, and quickly."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Address = tuple[str, int]

END_OF_HEAD = b"\r\n\r\n"
READ_BYTES = 64 * 1024
# Nothing that a server answers may take a client longer.
HANG_S = 5.0
# An answer to half a request comes at once, or not at all.
QUIET_S = 0.02


class Hang(Exception):
    """Neither an answer nor the connection's end, in time. Its argument is what came."""


class Unsent(Hang):
    """Not even a connection, in time."""


class NoAnswer(Exception):
    """The connection ended before its answer was whole. Its argument is what came."""


class Reply(NamedTuple):
    """An answer: `head` is its lines in lower case, without the empty one behind them."""

    status: int
    head: bytes
    body: bytes

    def field(self, name: bytes) -> bytes:
        """A header's value, or nothing."""
        _, found, rest = self.head.partition(b"\r\n%b: " % name)
        return rest.partition(b"\r\n")[0] if found else b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def address_of(url: str) -> Address:
    """Where a service listens."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def post(path: str, body: bytes, content_type: str = "application/json", *more: str) -> bytes:
    """A whole request; `more` are header lines."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1") + body


def get(path: str) -> bytes:
    """A whole request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode("ascii")


class Kept:
    """One client. Its connection is opened when it is needed, and again when the server closed it.

    `source` is the address it comes from: one has no more than 28,000 ports in a minute. With
    `again` a request whose connection ended before a word came back is sent once more, as most
    clients do.
    """

    def __init__(self, address: Address, source: str = "", *, again: bool = False) -> None:
        self._address = address
        self._again = again
        self._source = (source, 0) if source else None
        self._socket: socket.socket | None = None
        # What came behind an answer: it must be nothing.
        self._rest = b""
        self.opened = 0

    def ask(self, request: bytes, timeout_s: float = HANG_S, *, to_head: bool = False) -> Reply:
        """The answer to a whole request.

        Raises Hang or NoAnswer; the connection is closed then.
        """
        was_open = self._socket is not None
        try:
            return self._ask(request, timeout_s, to_head)
        except NoAnswer as error:
            if self._again and was_open and not error.args[0]:
                return self._ask(request, timeout_s, to_head)
            raise

    def _ask(self, request: bytes, timeout_s: float, to_head: bool) -> Reply:
        end_s = time.monotonic() + timeout_s
        self.send(request, timeout_s)
        reply = self._read(end_s, to_head)
        while reply.status < 200:
            reply = self._read(end_s, to_head)
        if b"\r\nconnection: close" in reply.head:
            self.close()
        return reply

    def send(self, data: bytes, timeout_s: float = HANG_S) -> None:
        """Send, and do not mind that the server takes no more: it may have answered already."""
        self.open(timeout_s)
        assert self._socket is not None
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            self._fail(Hang(b""))
        except OSError:
            return

    def open(self, timeout_s: float = HANG_S) -> None:
        """Connect, unless it is."""
        if self._socket is not None:
            return
        try:
            self._socket = socket.create_connection(self._address, timeout_s, self._source)
        except TimeoutError:
            raise Unsent(b"") from None
        except OSError as error:
            raise NoAnswer(b"") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened += 1

    def _read(self, end_s: float, to_head: bool) -> Reply:
        data = self._rest
        while (end := data.find(END_OF_HEAD)) < 0:
            data += self._receive(end_s, data)
        head, body = data[:end].lower(), data[end + len(END_OF_HEAD) :]
        status = int(head[9:12])
        size = 0 if to_head or status < 200 or status in (204, 304) else length_of(head)
        if len(body) < size:
            parts = [body]
            received = len(body)
            while received < size:
                parts.append(self._receive(end_s, head))
                received += len(parts[-1])
            body = b"".join(parts)
        self._rest = body[size:]
        return Reply(status, head, body[:size])

    def _receive(self, end_s: float, so_far: bytes) -> bytes:
        assert self._socket is not None
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            self._fail(Hang(so_far))
        self._socket.settimeout(left_s)
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            self._fail(Hang(so_far))
        except OSError:
            data = b""
        if not data:
            self._fail(NoAnswer(so_far))
        return data

    def _fail(self, error: Exception) -> None:
        self.close()
        raise error

    def ask_to_the_end(self, request: bytes, timeout_s: float = HANG_S) -> bytes:
        """All that comes back on a connection of its own until the server closes it.

        The client's end follows what was answered, or is only half a request. Raises Hang.
        """
        self.close()
        self.send(request, timeout_s)
        parts: list[bytes] = []
        end_s = time.monotonic() + timeout_s
        assert self._socket is not None
        with self._socket as connection:
            self._socket = None
            connection.settimeout(QUIET_S)
            while True:
                try:
                    data = connection.recv(READ_BYTES)
                except TimeoutError:
                    if time.monotonic() >= end_s:
                        raise Hang(b"".join(parts)) from None
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(max(end_s - time.monotonic(), 0.001))
                    continue
                except OSError:
                    data = b""
                if not data:
                    return b"".join(parts)
                parts.append(data)
                if is_answered(b"".join(parts)):
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)

    def left_over(self) -> bytes:
        """What came that nobody asked for."""
        if self._socket is None:
            return b""
        self._socket.setblocking(False)
        try:
            return self._rest + self._socket.recv(READ_BYTES)
        except OSError:
            return self._rest

    def close(self) -> None:
        """Leave."""
        if self._socket:
            self._socket.close()
        self._socket, self._rest = None, b""

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def length_of(head: bytes) -> int:
    """The length that an answer's head announces."""
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def is_answered(data: bytes) -> bool:
    """Whether a whole answer came."""
    reply = first_reply(data)
    return reply is not None and len(reply.body) >= length_of(reply.head)


def without_interim(data: bytes) -> bytes:
    """What came back behind interim answers, such as 100 Continue."""
    while data[9:10] == b"1" and END_OF_HEAD in data:
        data = data.partition(END_OF_HEAD)[2]
    return data


def first_reply(data: bytes) -> Reply | None:
    """The first answer in what came back, if there is one; interim ones are none."""
    head, end, body = without_interim(data).partition(END_OF_HEAD)
    if not end:
        return None
    head = head.lower()
    status = int(head[9:12]) if head[9:12].isdigit() else 0
    return Reply(status, head, body[: length_of(head)])
