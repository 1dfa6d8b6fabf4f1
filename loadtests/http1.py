"""HTTP/1.1 as cheaply as Python has it: whole requests out, status and length of answers in.

Knows neither Locust nor gevent, and takes no time.
"""

from __future__ import annotations

import _socket  # not gevent's, which replaces `socket.socket`: these wait in the system
import math
import ssl
import struct
from typing import Any, Protocol

RECEIVE_BYTES = 65_536
TLS_CHUNK_BYTES = 16_384
END = b"\r\n\r\n"
UNTIL_CLOSE = math.inf
# What has come already, or whatever comes in so long.
AT_ONCE, WAIT = _socket.MSG_DONTWAIT, 0
WAIT_S = 0.01


class Transport(Protocol):
    """Bytes to and from a server: BlockingIOError says later, OSError never.

    `flags` are AT_ONCE or WAIT.
    """

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """Take a part; the number of bytes taken."""
        ...

    def recv(self, limit: int, flags: int, /) -> bytes:
        """What has come; empty at the end."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


class Tls:
    """TLS over a connected socket, which the handshake has yet to go over."""

    def __init__(self, socket: Transport, context: ssl.SSLContext, host: str) -> None:
        self._socket = socket
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = b""
        self._taken = 0

    def handshake(self) -> bool:
        """Go on with it; True when it is done. Raises OSError when it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        self._flush()
        return True

    def feed(self, flags: int = AT_ONCE) -> bool:
        """Take in what has come; False at the end."""
        data = self._socket.recv(RECEIVE_BYTES, flags)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """As the protocol has it, at once; after BlockingIOError the same data must come again."""
        if not self._taken:
            self._taken = self._tls.write(data[:TLS_CHUNK_BYTES])
        if not self._flush():
            raise BlockingIOError
        taken, self._taken = self._taken, 0
        return taken

    def recv(self, limit: int, flags: int, /) -> bytes:
        """Everything that can be deciphered, for nothing wakes us for what stays in here."""
        self.feed(flags)
        parts = []
        try:
            while part := self._tls.read(limit):
                parts.append(part)
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        except ssl.SSLError:
            pass  # an end without a farewell is an end
        return b"".join(parts)

    def close(self) -> None:
        """Give it up, without a farewell."""
        self._socket.close()

    def _flush(self) -> bool:
        self._unsent += self._outgoing.read()
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent, AT_ONCE) :]
            except BlockingIOError:
                return False
        return not self._unsent


class Answer:
    """Reads answers one after the other; `status` and `body_bytes` are of the present one.

    `keep` says whether the connection may be used again after it, `touched` whether it has begun.
    """

    __slots__ = ("_chunked", "_head", "_left", "body_bytes", "keep", "status", "touched")

    def __init__(self) -> None:
        self.expect()

    def expect(self) -> None:
        """The next answer comes."""
        self.status = 0
        self._left: float = 0
        self.body_bytes = 0
        self.keep = True
        self.touched = False
        self._chunked = False
        self._head = b""

    def take(self, data: bytes) -> bool:
        """Read on; True when the answer is complete. Raises ValueError when it is none."""
        self.touched = True
        if self.status:
            return self._take_body(data)
        if self._head:
            data = self._head + data
        end = data.find(END)
        while end > 0 and data[9:10] == b"1":  # an interim answer, which says nothing
            data = data[end + 4 :]
            end = data.find(END)
        if end < 0:
            self._head = data
            return False
        if data[:7] != b"HTTP/1.":
            raise ValueError("no HTTP/1 answer")
        self.status = int(data[9:12])
        at = data.find(b"\r\ncontent-length:", 0, end)
        if at > 0 and data.find(b"\r\nconnection: close", 0, end) < 0 and data[7] == 49:
            self._left = self.body_bytes = int(data[at + 17 : data.find(b"\r", at + 17)])
        else:
            self._read_unusual_head(data[: end + 2].lower())
            if self._chunked:
                return self._take_body(data[end + 4 :])
        return self._count(len(data) - end - 4)

    def ended(self) -> bool:
        """The server closed; True when that was the end of the answer."""
        return self._left == UNTIL_CLOSE

    def _read_unusual_head(self, head: bytes) -> None:
        """Whatever is not the usual: names in capitals, chunks, the end of the connection."""
        lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
        fields = {name: value.strip() for name, _, value in lines}
        connection = fields.get(b"connection", b"")
        self.keep = connection != b"close" and (head[7] == 49 or connection == b"keep-alive")
        self._chunked = fields.get(b"transfer-encoding", b"").endswith(b"chunked")
        self._head = b""
        if not self._chunked and self.status not in (204, 304):
            length = fields.get(b"content-length")
            self.body_bytes = int(length or 0)
            self._left = UNTIL_CLOSE if length is None else self.body_bytes
            self.keep = self.keep and length is not None

    def _take_body(self, data: bytes) -> bool:
        if not self._chunked:
            return self._count(len(data))
        self._head += data
        while True:
            stop = self._head.find(b"\r\n")
            if stop < 0:
                return False
            size = int(self._head[:stop].split(b";")[0], 16)
            if size == 0:  # trailers end as a head does
                return self._head.find(END, stop) >= 0
            if len(self._head) < stop + size + 4:
                return False
            self._head = self._head[stop + size + 4 :]
            self.body_bytes += size

    def _count(self, came: int) -> bool:
        self._left -= came
        if self._left < 0:
            raise ValueError("more came than an answer")
        return not self._left


def connect(family: int, address: Any) -> _socket.socket:
    """Begin to connect; the socket is writable when it is over. Raises OSError."""
    socket = _socket.socket(family, _socket.SOCK_STREAM)
    socket.setblocking(False)
    socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    wait = struct.pack("@ll", 0, round(WAIT_S * 1e6))  # a timeval
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, wait)
    try:
        socket.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        socket.close()
        raise
    socket.setblocking(True)  # from now on the flags say whether a call waits
    return socket
