"""How a connection begins and ends: with room for it, and not before its answers were taken."""

from __future__ import annotations

import time
from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from inferctl.server.call import Call, Headers, Reply
from inferctl.server.connections import Connections
from inferctl.server.message import max_wire_bytes
from inferctl.server.reception import Reception

KEEP = b"\r\n"
CLOSE = b"connection: close\r\n\r\n"
# Who takes his answers a little at a time has so often as long as one who takes nothing.
MOST_WRITE_TIMEOUTS = 6


class Closing(HttpToolsProtocol):
    """uvicorn's protocol, of which each end is known by its reason."""

    def __init__(self, connections: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._connections = connections
        self._idle = connections.idle
        self._is_between_requests = True
        # What of a body goes past the parser.
        self._reception: Reception | None = None
        # It had its last answer, or is about to: whatever else it sends is thrown away.
        self._is_deaf = False
        self._reason = ""
        self._unsent_bytes, self._unsent_begun_s = 0, 0.0
        self._date_of: Headers = []
        self._date_lines = b""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """The client is here; there may be no room for it."""
        super().connection_made(transport)
        if not self._connections.admit(self):
            self.leave("conn_cap")
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connections.forget(self, self._reason or "client")
        self._reception = None  # whoever knows the connection still needs no body
        super().connection_lost(exc)

    def leave(self, reason: str) -> None:
        """Close it without a word."""
        if not self.transport.is_closing():
            self._turn_deaf()
            self._reason = self._reason or reason
            self.transport.close()
            self._watch_unsent()

    def _hang_up(self) -> None:
        """It had its last answer.

        Were what it still sends left unread, the system would reset the connection, and a client
        that is busy sending would not see the answer: so it is read for a while.
        """
        if self._is_between_requests and not self._reception:
            self.leave("answered")
        elif self not in self._connections.lingering and not self.transport.is_closing():
            self._turn_deaf()
            self._reason = self._reason or "answered"
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._connections.lingering.begin(self, time.monotonic())
            self._watch_unsent()

    def _turn_deaf(self) -> None:
        self._is_deaf = True
        self._reception = Reception(b"", max_wire_bytes(self._connections.limits))

    def head_is_late(self) -> None:
        """The rest of the head did not come in time."""
        raise NotImplementedError

    def body_is_late(self) -> None:
        """The rest of the body did not come in time."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """It does not take its answers."""
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        """It takes them again."""
        super().resume_writing()
        self._connections.unsent.end(self, None)
        if self.transport.is_closing():
            self._watch_unsent()

    def _watch_unsent(self) -> None:
        """Look now and then what it took, and whether it is gone: TLS waits for its farewell."""
        if self not in self._connections.unsent:
            self._unsent_begun_s = time.monotonic()
        self._look_later()

    def _look_later(self) -> None:
        self._connections.unsent.end(self, None)
        self._unsent_bytes = self.transport.get_write_buffer_size()
        if self._unsent_bytes or self.transport.is_closing():
            self._connections.unsent.begin(self, time.monotonic())

    def answer_is_stuck(self) -> None:
        """It took nothing for long, or little."""
        left_bytes = self.transport.get_write_buffer_size()
        most_s = MOST_WRITE_TIMEOUTS * self._connections.limits.write_timeout_s
        is_late = time.monotonic() > self._unsent_begun_s + most_s
        if left_bytes < self._unsent_bytes and not is_late:
            self._look_later()
            return
        if left_bytes:
            self._reason = "write_stall"
        self.transport.abort()

    def _write(self, reply: Reply, call: Call, end: bytes) -> None:
        """An answer; `end` is the last of its header lines."""
        status, head = STATUS_LINE[reply.status], reply.head(call)
        self.transport.write(b"".join((status, self._date(), head, end, reply.body)))

    def _date(self) -> bytes:
        """uvicorn's own headers; once a second it makes them anew."""
        headers = self.server_state.default_headers
        if headers is not self._date_of:
            self._date_of = headers
            self._date_lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._date_lines
