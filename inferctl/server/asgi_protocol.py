"""uvicorn's way of a request: a cycle, a task, messages; one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inferctl.errors import InferctlError
from inferctl.server.guarded import Guarded

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

# A client that has asked for nothing so long is not just about to.
LAST_REQUEST_S = 1.0


class StandIn:
    """What uvicorn asks of a request in work, in the place of its `RequestResponseCycle`."""

    def __init__(self) -> None:
        self.response_complete = True
        self.keep_alive = True
        self.disconnected = False
        self.message_event = asyncio.Event()


class LastWords:
    """The transport as uvicorn's cycle sees it: to close it is to hang up."""

    def __init__(self, transport: asyncio.Transport, hang_up: Callable[[], None]) -> None:
        self.write, self.is_closing = transport.write, transport.is_closing
        self.close = hang_up


class AsgiProtocol(Guarded):
    """One connection, on which every request is a cycle of uvicorn's, or a `StandIn` for one."""

    # The cycle whose turn it is; `cycle` is the newest one, which may be in the pipeline.
    _in_work: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._in_work = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: uvicorn tells the newest cycle alone."""
        if self._in_work:
            self._in_work.disconnected = True
            self._in_work.message_event.set()
            self._in_work = None
        super().connection_lost(exc)
        # A request knows its connection: together they would stay until the next look for cycles.
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment] # as before the first one

    def _is_free(self) -> bool:
        """Whether nothing is in work here, and the client takes its answers."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _go_over_asgi(self, refusal: InferctlError | None = None) -> None:
        """Make a cycle of the request whose head is here; `App` refuses it if that is said."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this list
        self.scope["state"] |= {"refusal": refusal, "fault": self.loop.create_future()}
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, LastWords(self.transport, self._hang_up))

    def shutdown(self) -> None:
        """The service ends: the next answer is the last one here, if there is one soon."""
        self._reason = self._reason or "drain"
        if self.cycle is not None:
            self.cycle.keep_alive = False
        self.loop.call_later(LAST_REQUEST_S, self._leave_if_idle)

    def _leave_if_idle(self) -> None:
        if self._is_between_requests and self._is_free() and not self._reception:
            self.leave("drain")
        elif not self.transport.is_closing():
            self.loop.call_later(LAST_REQUEST_S, self._leave_if_idle)

    def _fail_body(self, error: InferctlError) -> None:
        """A request whose head was good has no whole body."""
        if self.cycle.response_complete:
            self._hang_up()
        else:
            self.cycle.keep_alive = False
            self.cycle.scope["state"]["fault"].set_result(error)

    def on_response_complete(self) -> None:
        """An answer has left; the next request of the pipeline may begin."""
        self.server_state.total_requests += 1
        self._in_work = None
        if self.transport.is_closing() or self in self._connections.lingering:
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle.begin(self, time.monotonic())
        if not self.pipeline:  # were more read before, there would be more and more of them
            self.flow.resume_reading()
