"""Traces: the event loop notes which requests were answered, a thread makes spans and sends them.

Nothing here knows OpenTelemetry: without the extra, and without its variables, there is no Traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import getrandbits
from typing import NamedTuple, Protocol

from inferctl.arena.cells import Cell
from inferctl.server.backlog import CLOSE_TIMEOUT_S, Backlog
from inferctl.server.call import Call, Reply
from inferctl.server.traceparent import Trace, least_left_out
from inferctl.tracing import Tracing

# Spans of requests that wait to be sent; more are dropped.
MAX_WAITING_SPANS = 10_240
# Spans that go in one message, unless one request has more.
MAX_SENT_SPANS = 2560
# Requests gather so long before they are sent together, or until they fill a message.
GATHER_S = 0.5


class Answered(NamedTuple):
    """A request of which spans are wanted. The answer's body is not kept for them."""

    call: Call
    trace: Trace
    status: int
    outcome: str
    spans: int


class Exporter(Protocol):
    """Where they go."""

    def export(self, requests: Sequence[Answered]) -> bool:
        """Send their spans; whether they arrived."""

    def close(self) -> None:
        """Try no longer to send."""


class Traces:
    """Notes the requests that are sampled. `dropped` counts spans that were lost."""

    def __init__(self, tracing: Tracing, exporter: Exporter, dropped: Cell) -> None:
        self._follows_parent = tracing.follows_parent
        self._least_left_out = least_left_out(tracing.rate)
        self._exporter = exporter
        self._dropped = dropped
        # Spans that were noted and taken since the start: each is counted by one thread alone.
        self._noted = self._taken = 0
        self._backlog: Backlog[Answered] = Backlog("traces", GATHER_S, self._send)

    def record(self, call: Call, reply: Reply) -> None:
        """Note an answered request. One that came without a trace begins its own, if it is kept."""
        trace = call.trace
        if trace is None:
            trace_id = b"%032x" % getrandbits(128)
            if trace_id[16:] >= self._least_left_out:
                call.unkept_trace_id = trace_id
                return
            call.trace = trace = Trace(trace_id, b"", True)
        elif not (
            trace.sampled if self._follows_parent else trace.trace_id[16:] < self._least_left_out
        ):
            return
        spans = spans_of(call)
        waiting = self._noted - self._taken
        if waiting >= MAX_WAITING_SPANS:
            self._dropped.add(spans)
            return
        self._noted += spans
        self._backlog.add(Answered(call, trace, reply.status, reply.outcome, spans))
        if waiting + spans >= MAX_SENT_SPANS:
            self._backlog.hurry()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Send what waits, and stop. If nobody takes it, it is lost."""
        self._backlog.close(timeout_s)
        self._exporter.close()

    def _send(self) -> None:
        while self._backlog.items:
            message = self._next_message()
            if not self._exporter.export(message):
                self._dropped.add(sum(request.spans for request in message))

    def _next_message(self) -> list[Answered]:
        """The first of those that wait: one, and as many more as find room beside it."""
        waiting = self._backlog.items
        message: list[Answered] = []
        room = MAX_SENT_SPANS
        while waiting and (waiting[0].spans <= room or not message):
            request = waiting.popleft()
            message.append(request)
            room -= request.spans
            self._taken += request.spans
        return message


def spans_of(call: Call) -> int:
    """How many spans a request has: its own, and those of its phases, or of its items'."""
    if not call.parts:
        return 1 + len(call.phases_ms)
    return 1 + sum(len(part.phases_ms) for part in call.parts)
