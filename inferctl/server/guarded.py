"""uvicorn's HTTP protocol with bounds: how slowly, how much and what a client may send.

uvicorn has none. What is out of bounds ends the connection, with an answer where one can be heard,
and is counted by its reason.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from typing import Any

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from inferctl.errors import InferctlError
from inferctl.refusals import HeadersTooLarge, RequestError, RequestTimeout, TooLarge, UriTooLong
from inferctl.server.call import BUG, Call
from inferctl.server.closing import CLOSE, Closing
from inferctl.server.connections import Connections
from inferctl.server.dialects.plain import problem_of
from inferctl.server.message import Message

# Requests that came before the one in work was answered; each costs many times its bytes.
MAX_PIPELINED = 256
REASONS: dict[type[InferctlError], str] = {
    HeadersTooLarge: "header_too_large",
    UriTooLong: "header_too_large",
    TooLarge: "too_large",
}


class Guarded(Closing):
    """One connection. What its messages mean is left to the class that builds on this one."""

    def __init__(self, connections: Connections, **uvicorns: Any) -> None:
        super().__init__(connections, **uvicorns)
        self._message = Message(connections.limits)
        self.url, self.headers = b"", []
        # Nothing has come yet.
        self._is_new = True
        self._is_in_head = False
        self._body_begun_s = 0.0
        self._body_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._end_body()
        super().connection_lost(exc)

    def _turn_deaf(self) -> None:
        self._connections.heads.end(self, None)
        self._end_body()
        super()._turn_deaf()

    # The parser is fed, and calls back.

    def data_received(self, data: bytes) -> None:
        """What goes through the parser came."""
        try:
            rest = data
            while rest:
                rest = self._feed(rest)
            if not (self._is_between_requests or self._is_deaf):
                self._message.feed(len(data), is_head=self._is_in_head)
                self._begin_waiting()
        except InferctlError as error:
            self._fault(error, REASONS.get(type(error), "protocol"))

    def _feed(self, data: bytes) -> bytes:
        """Feed the parser; what it did not take. Raises InferctlError."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._head_without_upgrade() + data[upgrade.args[0] :]
        except HttpParserError as error:
            raise _cause_of(error) from None
        if self._is_in_head and self._has_no_version(data):
            raise RequestError("HTTP/0.9 is not spoken here")  # such a head would never end
        return b""

    def _has_no_version(self, data: bytes) -> bool:
        return (
            bool(self.url)
            and data.endswith(b"\n")
            and self.parser.get_http_version() in ("0.0", "0.9")
        )

    def _head_without_upgrade(self) -> bytes:
        """The head once more, without what makes the parser leave the rest, its body too, to
        another protocol: there is none here, and it must not be taken for the next request."""
        line = b"%b %b HTTP/1.1" % (self.parser.get_method(), self.url)
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self._renew_parser()
        return b"\r\n".join([line, *headers, b"", b""])

    def _renew_parser(self) -> None:
        """As lenient as uvicorn's."""
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_message_begin(self) -> None:
        """A request begins; its scope is built when ASGI needs one.

        Raises RequestError when one before it, in the same packet, had the last answer.
        """
        if self._is_deaf:
            raise RequestError("nothing is heard after the last answer")
        if self._is_new:
            self._say_something()
        self._is_between_requests = False
        self._is_in_head = True
        self._idle.end(self, None)
        self._message.begin()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def _say_something(self) -> None:
        """The first byte of the first request."""
        self._is_new = False
        self._connections.first_byte.end(self, None)

    def on_url(self, url: bytes) -> None:
        """A part of the target is here."""
        super().on_url(url)
        self._message.check_url(self.parser.get_method(), self.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is here. Those behind a body say nothing: the head was judged without them."""
        if self._is_in_head:
            self._message.check_header(name, value)
            super().on_header(name, value)

    def _end_head(self) -> None:
        """The head is complete. Raises RequestError."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise RequestError("too many requests at once on one connection")
        parser = self.parser
        version = parser.get_http_version()
        self._message.end_head(parser.get_method(), version, self.url, self.headers)
        self._is_in_head = False
        self._connections.heads.end(self, None)
        # Again: the last answer may have left when they were half here.
        self._idle.end(self, None)

    # It waits for the client.

    def _begin_waiting(self) -> None:
        """The rest of the head, or of the body, is to come."""
        if not self._is_in_head:
            if self not in self._connections.bodies and not self._body_timer:
                self._begin_body()
        elif self not in self._connections.heads:
            self._connections.heads.begin(self, time.monotonic())

    def _begin_body(self) -> None:
        self._end_body()
        self._body_begun_s = time.monotonic()
        self._connections.bodies.begin(self, self._body_begun_s)

    def _end_body(self) -> None:
        self._connections.bodies.end(self, None)
        if self._body_timer:
            self._body_timer.cancel()
            self._body_timer = None

    def head_is_late(self) -> None:
        """The rest of the head did not come in time."""
        if self.flow.read_paused:  # it was we who did not read
            self._connections.heads.begin(self, time.monotonic())
            return
        self._fault(RequestTimeout("the headers did not arrive in time"), "header_timeout")

    def body_is_late(self) -> None:
        """Its body is not here yet: what came of it may give it more time."""
        self._body_timer = None
        if self.flow.read_paused:  # it was we who did not read
            self._begin_body()
            return
        limits = self._connections.limits
        came = self._message.fed_bytes + (self._reception.filled if self._reception else 0)
        allowed_s = limits.body_timeout_s + came / limits.min_body_bytes_per_s
        left_s = self._body_begun_s + min(allowed_s, limits.max_body_timeout_s) - time.monotonic()
        if left_s > 0:
            self._body_timer = self.loop.call_later(left_s, self.body_is_late)
        else:
            self._fault(RequestTimeout("the body did not arrive in time"), "body_timeout")

    # It went wrong.

    def _fault(self, error: InferctlError, reason: str) -> None:
        """What it sent cannot be followed, or did not come: nothing after it can be answered."""
        if self._is_deaf:
            return
        self._reason = self._reason or reason
        is_in_body = not self._is_in_head and not (
            self._is_between_requests and self._reception is None
        )
        self._turn_deaf()
        if is_in_body:
            self._fail_body(error)
        elif self.cycle is None or self.cycle.response_complete:
            self._answer_at_once(error)
            self._hang_up()
        else:  # those before it are answered; this one would be taken for one of them
            self.cycle.keep_alive = False

    def _fail_body(self, error: InferctlError) -> None:
        """A request whose head was good will never have its whole body."""
        raise NotImplementedError

    def _answer_at_once(self, error: InferctlError) -> None:
        path = self.url.partition(b"?")[0].decode("ascii")
        call = Call("", path, b"", dict(self.headers))
        self._write(problem_of(error, call), call, CLOSE)


def _cause_of(error: HttpParserError) -> InferctlError:
    """Why the parser stopped: because of what it was fed, or of what a callback raised."""
    cause = error.__context__ if isinstance(error, HttpParserCallbackError) else None
    if isinstance(cause, InferctlError):
        return cause
    if cause is None or isinstance(cause, HttpParserError):
        return RequestError("this is no HTTP/1.1 request")
    traceback.print_exception(cause, file=sys.stderr)
    return InferctlError(BUG)
