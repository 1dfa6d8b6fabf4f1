"""The worker's HTTP protocol: predict requests straight from the parser, the rest through ASGI.

uvicorn's protocol builds a scope, a task and messages for each request, and its parser calls back
into it. A predict request takes the same callbacks and nothing else. Whatever is out of the
ordinary, a pipelined request, HTTP/1.0, `Expect: 100-continue`, goes uvicorn's way, where
`Predict.over_asgi` answers it the same.

A client on a kept connection sends the same head again and again. What the parser said of a head
is remembered, by its bytes; a request with a head that is known needs no parser. Nor does a body
whose length is known: it is read from the socket straight to where it stays.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from inferctl.errors import RequestError
from inferctl.server.call import Call, Headers, Reply, announced_bytes
from inferctl.server.predict import Head, Predict
from inferctl.server.prediction import Prediction
from inferctl.server.reception import Reception
from inferctl.server.terms import terms_of
from inferctl.server.timeouts import Timeouts

END_OF_HEAD = b"\r\n\r\n"
# A head, and with it a small body, is read into so much; the rest of a large body is asked for.
HEAD_BYTES = 4096
READ_BYTES = 64 * 1024
# Of heads that differ with every request, a trace id in them, no more than this is kept.
MAX_KNOWN_HEADS = 256
MAX_KNOWN_HEAD_BYTES = 2048
# A client that has asked for nothing so long is not just about to.
LAST_REQUEST_S = 1.0


class StandIn:
    """What uvicorn asks of a request in work, in the place of its `RequestResponseCycle`."""

    def __init__(self) -> None:
        self.response_complete = True
        self.keep_alive = True
        self.disconnected = False
        self.message_event = asyncio.Event()


class Protocol(HttpToolsProtocol):
    """One connection. `_prediction` is the predict request that it waits for, if one is."""

    _call: Call
    # One for all connections: what is read is taken over before the next one reads.
    _buffer = memoryview(bytearray(READ_BYTES))
    _head_buffer = _buffer[:HEAD_BYTES]

    def __init__(self, predict: Predict, idle: Timeouts[Protocol], **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._predict = predict
        self._known = predict.known_heads
        self._idle = idle
        self._stand_in = StandIn()
        self._prediction: Prediction | None = None
        # The rest of its body, if that is still to come.
        self._reception: Reception | None = None
        # The bytes that the parser is fed; empty while it is in the middle of a request.
        self._data = b""
        self._is_between_requests = True
        # Whether the message that is being parsed is a predict request of ours, and how long its
        # body is, if it said so.
        self._is_ours = False
        self._announced_bytes = 0
        self._date_of: Headers = []
        self._date_lines = b""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes are to be read to."""
        if self._reception:
            return self._reception.room(self._buffer)
        return self._head_buffer if self._is_between_requests else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many came."""
        if self._reception is None:
            self.data_received(bytes(self._buffer[:nbytes]))
        elif self._reception.advance(nbytes):
            body, self._reception = self._reception.body, None
            if self._prediction:
                self._prediction.take(body)

    def data_received(self, data: bytes) -> None:
        """A head came, or what is not read to its place."""
        if self._is_between_requests:
            start, end, body = data.partition(END_OF_HEAD)
            head = self._known.get(start) if end else None
            if head is not None and len(body) <= head.body_bytes and self._is_free():
                if self.timeout_keep_alive_task:
                    self._unset_keepalive_if_required()
                self._idle.end(self, None)
                request = self._begin(head)
                if len(body) == head.body_bytes:
                    request.take(body)
                else:
                    self._receive(request, body, head.body_bytes)
                return
            self._data = data
        super().data_received(data)
        self._data = b""
        is_in_body = self._is_ours and not self._is_between_requests
        if is_in_body and self._prediction and self._announced_bytes:
            # The parser need not see the rest of it; the next one is as lenient as uvicorn's.
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._is_between_requests = True
            self._receive(self._prediction, self._prediction.fed(), self._announced_bytes)

    def _receive(self, request: Prediction, first: bytes, size: int) -> None:
        """The rest of a body is to come."""
        if not request.expect(size, self.flow.resume_reading):
            self.flow.pause_reading()
        self._reception = Reception(first, size)
        if request.refusal:
            self._reception.forget()

    # The parser's callbacks, in the order it calls them.

    def on_message_begin(self) -> None:
        """A request begins; its scope is built when ASGI needs one."""
        self._is_between_requests = self._is_ours = False
        self._idle.end(self, None)
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Its headers are here: which way does it go?"""
        self._idle.end(self, None)  # again: the last answer may have left when they were half here
        head = self._ordinary_head()
        self._is_ours = head is not None and self._is_free()
        if head and self._is_ours:
            self._announced_bytes = head.body_bytes
            self._begin(head).begin(head.body_bytes)
            self._remember(head)
        else:
            self._go_over_asgi()

    def _ordinary_head(self) -> Head | None:
        """The head, if it is one of the predict requests that are answered here."""
        path, _, query = self.url.partition(b"?")
        if (
            path not in self._predict.routes
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.parser.should_upgrade()
            or self.expect_100_continue
        ):
            return None
        fields = dict(self.headers)
        try:
            terms = terms_of(fields)
            route = self._predict.route(path, query)
        except RequestError:
            return None
        return route and Head(
            route=route,
            path=path.decode("ascii"),
            query=query,
            fields=fields,
            keep_alive=self.parser.should_keep_alive() and not self._predict.is_ending,
            body_bytes=announced_bytes(fields),
            terms=terms,
        )

    def _is_free(self) -> bool:
        """Whether nothing is in work here, and the client takes its answers."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _remember(self, head: Head) -> None:
        end = self._data.find(END_OF_HEAD)
        if self._prediction and head.body_bytes and 0 < end < MAX_KNOWN_HEAD_BYTES:
            if len(self._known) >= MAX_KNOWN_HEADS:
                self._known.clear()
            with suppress(RequestError):  # one that is refused need not be known
                form = head.route.dialect.form(self._call, head.route.model)
                self._known[self._data[:end]] = head._replace(form=form)

    def _begin(self, head: Head) -> Prediction:
        self._stand_in.response_complete = False
        self._stand_in.keep_alive = head.keep_alive
        self.cycle = cast(RequestResponseCycle, self._stand_in)
        self._call = Call("POST", head.path, head.query, head.fields)
        self._prediction = request = Prediction(
            self._call, *head.route, self._predict.work, self._respond, head.terms, head.form
        )
        return request

    def _go_over_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this list
        super().on_headers_complete()
        if self._predict.is_ending:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of its body is here."""
        if not self._is_ours:
            super().on_body(body)
        elif self._prediction:
            self._prediction.feed(body)

    def on_message_complete(self) -> None:
        """It is complete."""
        self._is_between_requests = True
        self._data = b""  # a head that follows in them is not at their start
        if not self._is_ours:
            super().on_message_complete()
        elif self._prediction:
            self._prediction.complete()

    # The request ends.

    def _respond(self, reply: Reply) -> None:
        self._prediction = None
        self._stand_in.response_complete = True
        if self.transport.is_closing():
            return
        keep = self._stand_in.keep_alive and (self._call.body_received or self._body_is_left())
        end = b"\r\n" if keep else b"connection: close\r\n\r\n"
        status, head = STATUS_LINE[reply.status], reply.head(self._call)
        self.transport.write(b"".join((status, self._date(), head, end, reply.body)))
        if not keep:
            self.transport.close()
        elif self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle.begin(self, self._call.ended_s)

    def _body_is_left(self) -> bool:
        """Whether the body was left with the client: it will come, and another request after it."""
        if self._reception and self.flow.read_paused:
            # A client that is cut off while it sends does not see its answer.
            self._reception.forget()
            self.flow.resume_reading()
            return True
        # The rest may never come, and nothing else bounds the wait for it.
        self._reception = None
        return False

    def _date(self) -> bytes:
        """uvicorn's own headers; once a second it makes them anew."""
        headers = self.server_state.default_headers
        if headers is not self._date_of:
            self._date_of = headers
            self._date_lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._date_lines

    def shutdown(self) -> None:
        """The service ends: the next answer is the last one here, if there is one soon."""
        if self.cycle is not None:
            self.cycle.keep_alive = False
        self.loop.call_later(LAST_REQUEST_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._is_between_requests and self._is_free() and not self._reception:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._idle.end(self, None)
        if self._prediction:
            self._prediction.abandon()
        self._reception = None  # a connection is a cycle, and may lie about for long
        super().connection_lost(exc)
