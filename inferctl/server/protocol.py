"""The worker's HTTP protocol: predict requests straight from the parser, the rest through ASGI.

uvicorn's protocol builds a scope, a task and messages for each request, and its parser calls back
into it. A predict request takes the same callbacks and nothing else. Whatever is out of the
ordinary, a pipelined request, HTTP/1.0, `Expect: 100-continue`, goes uvicorn's way, where
`Predict.over_asgi` answers it the same; and so does what is to become a job.

A client on a kept connection sends the same head again and again. What the parser said of a head
is remembered, by its bytes; a request with a head that is known needs no parser. Nor does a body
whose length is known: it is read from the socket straight to where it stays.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from inferctl.errors import InferctlError
from inferctl.refusals import RequestError, RequestTimeout
from inferctl.server.asgi_protocol import AsgiProtocol, StandIn
from inferctl.server.call import Call, Reply, announced_bytes
from inferctl.server.closing import CLOSE, KEEP
from inferctl.server.connections import Connections
from inferctl.server.predict import Head, Predict
from inferctl.server.prediction import Prediction
from inferctl.server.reception import Reception
from inferctl.server.terms import terms_of
from inferctl.tasks.base import Body

END_OF_HEAD = b"\r\n\r\n"
# A head, and with it a small body, is read into so much; the rest of a large body is asked for.
HEAD_BYTES = 4096
READ_BYTES = 64 * 1024
# Of heads that differ with every request, an id in them, no more than this is kept.
MAX_KNOWN_HEADS = 256
MAX_KNOWN_HEAD_BYTES = 2048


class Protocol(AsgiProtocol):
    """One connection. `_prediction` is the predict request that it waits for, if one is."""

    _call: Call
    # One for all connections: what is read is taken over before the next one reads.
    _buffer = memoryview(bytearray(READ_BYTES))
    _head_buffer = _buffer[:HEAD_BYTES]

    def __init__(self, predict: Predict, connections: Connections, **uvicorns: Any) -> None:
        super().__init__(connections, **uvicorns)
        self._predict = predict
        self._access = predict.access
        self._known = predict.known_heads
        self._stand_in = StandIn()
        self._prediction: Prediction | None = None
        # The bytes that the parser is fed; empty while it is in the middle of a request.
        self._data = b""
        # Whether the message that is being received is answered here, and how long its body is,
        # if it said so.
        self._is_ours = False
        self._announced_bytes = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes are to be read to."""
        if self._reception:
            return self._reception.room(self._buffer)
        if self._is_between_requests or self._is_in_head:
            return self._head_buffer
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many came."""
        if self._reception is None:
            self.data_received(bytes(self._buffer[:nbytes]))
        elif self._reception.advance(nbytes):
            self._take_received(self._reception)

    def data_received(self, data: bytes) -> None:
        """A head came, or what is not read to its place."""
        if self._is_between_requests:
            start, end, body = data.partition(END_OF_HEAD)
            head = self._known.get(start) if end else None
            if head is not None and len(body) <= head.body_bytes and self._is_free():
                if self._is_new:
                    self._say_something()
                self._idle.end(self, None)
                request = self._begin(head)
                if len(body) == head.body_bytes:
                    request.take(body)
                else:
                    self._is_ours = True
                    request.announce(head.body_bytes)
                    self._receive(request, body, head.body_bytes)
                return
            self._data = data
        super().data_received(data)
        self._data = b""
        is_in_body = not (self._is_between_requests or self._is_in_head)
        if is_in_body and self._is_ours and self._prediction and self._announced_bytes:
            # The parser need not see the rest of it.
            self._renew_parser()
            self._is_between_requests = True
            self._receive(self._prediction, self._prediction.fed(), self._announced_bytes)

    def _receive(self, request: Prediction, first: Body, size: int) -> None:
        """The rest of a body is to come, if it is not refused."""
        reception = self._reception = Reception(first, size, request.hold)
        self._begin_body()
        if not request.expect(size, self._read_on):
            self.flow.pause_reading()
        if request.refusal:
            reception.forget()

    def _read_on(self) -> None:
        """There is room for the body: its time begins now."""
        self._begin_body()
        self.flow.resume_reading()

    def _take_received(self, reception: Reception) -> None:
        """It is whole, or nobody wanted it; or somebody sends on and on who had its last answer."""
        self._reception = None
        self._end_body()
        if self._is_deaf:
            self.transport.abort()
        elif self._prediction:
            self._prediction.take(reception.body)

    # The parser's callbacks, in the order it calls them.

    def on_headers_complete(self) -> None:
        """The headers are here: which way does it go?"""
        self._end_head()
        if self.parser.should_upgrade():
            return  # it comes again, without that
        try:
            head = self._ordinary_head()
        except RequestError as error:
            self._refuse(error)
            return
        if head and self._is_free():
            self._is_ours = True
            self._announced_bytes = head.body_bytes
            self._begin(head).begin(head.body_bytes)
            self._remember(head)
        else:
            self._is_ours = False
            self._go_another_way()

    def _go_another_way(self) -> None:
        """It is no predict request, or one that is out of the ordinary."""
        size, work = announced_bytes(dict(self.headers)), self._predict.work
        if size > work.max_body_bytes and self.url.partition(b"?")[0] not in self._predict.routes:
            self._refuse(work.too_large())
        else:
            self._go_over_asgi()

    def _ordinary_head(self) -> Head | None:
        """The head, if it is one of the predict requests that are answered here.

        Raises Misdirected, Forbidden or Unauthorized for whoever may send none.
        """
        path, _, query = self.url.partition(b"?")
        if (
            path not in self._predict.routes
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.expect_100_continue
        ):
            return None
        fields = dict(self.headers)
        name = path.decode("ascii")
        key = self._access.check("POST", name, self.headers)
        if b"prefer" in fields and self._predict.is_deferred(name, self.headers):
            return None
        try:
            self._access.permit(key, name, predicts=True)
            terms = terms_of(fields)
            route = self._predict.route(path, query)
        except RequestError:
            return None
        return route and Head(
            route=route,
            path=name,
            query=query,
            fields=fields,
            keep_alive=self._keeps_alive(),
            body_bytes=announced_bytes(fields),
            terms=terms,
            key=key,
        )

    def _keeps_alive(self) -> bool:
        return self.parser.should_keep_alive() and not self._predict.is_ending

    def _go_over_asgi(self, refusal: InferctlError | None = None) -> None:
        super()._go_over_asgi(refusal)
        if self._predict.is_ending:
            self.cycle.keep_alive = False

    def _remember(self, head: Head) -> None:
        if self._call.trace is not None:  # its next request names another span
            return
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
        if head.key is not None:
            self._call.key = head.key
        self._prediction = request = Prediction(
            self._call, *head.route, self._predict.work, self._respond, head.terms, head.form
        )
        return request

    def _refuse(self, error: InferctlError) -> None:
        """Answer a head that is complete with a problem, before a byte of its body is read.

        A body that is short is read and thrown away, and the connection kept.
        """
        path, _, query = self.url.partition(b"?")
        method = self.parser.get_method().decode("ascii")
        if method == "HEAD" or not self._is_free():  # uvicorn knows when, and what, to answer
            self._is_ours = False
            self._go_over_asgi(error)
            return
        self._is_ours = True
        self._stand_in.keep_alive = self._keeps_alive()
        self._call = Call(method, path.decode("ascii"), query, dict(self.headers))
        self._respond(self._predict.refuse(error, self._call))

    def on_body(self, body: bytes) -> None:
        """A part of its body is here."""
        if not self._is_ours:
            super().on_body(body)
        elif self._prediction:
            self._prediction.feed(body)

    def on_message_complete(self) -> None:
        """It is complete."""
        if self.parser.should_upgrade():
            return
        self._is_between_requests = True
        self._data = b""  # a head that follows in them is not at their start
        self._end_body()
        if not self._is_ours:
            super().on_message_complete()
        elif self._prediction:
            self._prediction.complete()

    # The request ends.

    def _fail_body(self, error: InferctlError) -> None:
        """A request whose head was good has no whole body."""
        if not self._is_ours:
            super()._fail_body(error)
        elif self._prediction:
            self._prediction.fail(error)
        else:  # it was answered before
            self._hang_up()

    def _respond(self, reply: Reply) -> None:
        self._prediction = None
        self._stand_in.response_complete = True
        if self.transport.is_closing():
            return
        keep = self._stand_in.keep_alive and (self._call.body_received or self._leaves_body(reply))
        self._write(reply, self._call, KEEP if keep else CLOSE)
        if not keep:
            self._hang_up()
        elif self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle.begin(self, self._call.ended_s)

    def _leaves_body(self, reply: Reply) -> bool:
        """Whether the body was left with the client: it will come, and another request after it."""
        if self._is_deaf or reply.status == RequestTimeout.status:
            return False
        was_paused = self._reception is not None and self.flow.read_paused
        if not (was_paused or self._call.leaves_little()):
            return False
        if self._reception:
            self._reception.forget()
            self._read_on()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._prediction:
            self._prediction.abandon()
        super().connection_lost(exc)
