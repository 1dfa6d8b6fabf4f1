"""One connection: opened, shaken hands with, given a request at a time, opened again when lost."""

from __future__ import annotations

import _socket
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from http1 import AT_ONCE, RECEIVE_BYTES, Answer, Tls, Transport, connect

READABLE, WRITABLE = 1, 4
CLOSED, OPENING, IDLE, BUSY = range(4)
NOTHING = b""
# For an address that does not even refuse.
TRY_S = 2.0


@dataclass(frozen=True)
class Server:
    """Where connections lead; `host` is whom a certificate must be for."""

    family: int
    address: Any
    host: str
    tls: ssl.SSLContext | None = None


def find_server(url: str, ca: str | None = None) -> Server:
    """The server of `http://HOST:PORT`, or of `https://`, checked against the CAs of the system or
    of a file: of a host's addresses, the first that answers. Raises OSError without such a host.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    tls = ssl.create_default_context(cafile=ca) if secure else None
    port = parts.port or (443 if secure else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    servers = [Server(family, address, host, tls) for family, _, _, _, address in found]
    return next(filter(_answers, servers), servers[0])


def _answers(server: Server) -> bool:
    """Whether somebody listens there: `localhost` may be ::1 first, and a server only 127.0.0.1."""
    with socket.socket(server.family, socket.SOCK_STREAM) as tried:
        tried.settimeout(TRY_S)
        try:
            tried.connect(server.address)
        except OSError:
            return False
    return True


class Watch(Protocol):
    """An epoll."""

    def register(self, fd: int, events: int, /) -> None:
        """Watch a new one."""
        ...

    def modify(self, fd: int, events: int, /) -> None:
        """Watch it for something else."""
        ...


class Connection:
    """`stage` is CLOSED, OPENING, IDLE or BUSY; `request` is what is under way or waits for it.

    `begun_s` is when that was to begin and `sent_s` when it did, `opened_s` when the connection was
    opened, of a clock that the owner keeps; `served` counts answers since.
    """

    __slots__ = (
        "_shaking", "_unsent", "_watch", "answer", "begun_s", "fd", "left", "of_user", "opened_s",
        "request", "sent_s", "served", "stage", "transport",
    )  # fmt: skip

    def __init__(self, watch: Watch, of_user: bool) -> None:
        self._watch = watch
        self.of_user = of_user
        # Set for a user that is to stop: called when nothing is under way any more.
        self.left: Callable[[], object] | None = None
        self.answer = Answer()
        self.request = NOTHING
        self.begun_s = self.sent_s = self.opened_s = 0.0
        self.served = 0
        self._shaking = False
        self._unsent: memoryview | None = None
        self.fd = -1
        self.stage = CLOSED
        self.transport: Transport

    def open(self, server: Server) -> None:
        """Begin to connect. Raises OSError when that fails at once."""
        plain = connect(server.family, server.address)
        self.transport = plain if server.tls is None else Tls(plain, server.tls, server.host)
        self.fd = plain.fileno()
        self.stage = OPENING
        self.served = 0
        self._shaking = False
        self._watch.register(self.fd, WRITABLE)

    def go_on(self) -> bool:
        """Go on with opening; True when it is open, and IDLE. Raises OSError when it fails."""
        if not self._shaking:
            if error := _socket_error(self.fd):
                raise OSError(error, "cannot connect")
            self._watch.modify(self.fd, READABLE)
            self._shaking = True
        elif isinstance(self.transport, Tls) and not self.transport.feed():
            raise ConnectionError("closed in the handshake")
        if isinstance(self.transport, Tls) and not self.transport.handshake():
            return False
        self.stage = IDLE
        return True

    def send(self) -> None:
        """Send the request, or what the system takes of it. Raises OSError."""
        self.stage = BUSY
        try:
            sent = self.transport.send(self.request, AT_ONCE)
        except BlockingIOError:
            sent = 0
        finally:
            self.answer.expect()
        if sent < len(self.request):
            self._unsent = memoryview(self.request)[sent:]
            self._watch.modify(self.fd, READABLE | WRITABLE)

    def send_rest(self) -> None:
        """It can take more. Raises OSError."""
        if self._unsent is None:
            return
        try:
            self._unsent = self._unsent[self.transport.send(self._unsent, AT_ONCE) :]
        except BlockingIOError:
            return
        if not self._unsent:
            self._unsent = None
            self._watch.modify(self.fd, READABLE)

    def is_asking(self) -> bool:
        """Whether nothing but an answer is to come."""
        return self.stage == BUSY and self._unsent is None

    def receive(self, flags: int = AT_ONCE) -> bool:
        """Read on; True when the answer is complete. Raises OSError or ValueError when none is."""
        try:
            data = self.transport.recv(RECEIVE_BYTES, flags)
        except BlockingIOError:
            return False
        if data:
            return self.answer.take(data)
        if self.answer.ended():
            return True
        raise ConnectionError("closed without an answer")

    def close(self) -> None:
        """Give the socket up; closing takes it from the watch too."""
        if self.stage != CLOSED:
            self.transport.close()
            self.stage = CLOSED
            self.fd = -1
        self._unsent = None


def _socket_error(fd: int) -> int:
    """The error number of a socket that was to connect; 0 without any."""
    borrowed = _socket.socket(fileno=fd)
    try:
        return borrowed.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
    finally:
        borrowed.detach()
