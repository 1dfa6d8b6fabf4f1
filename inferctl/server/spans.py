"""Spans of answered requests, sent as OTLP over HTTP: the only importer of the extra `otel`.

A request is a server span, by its route, with a child for each phase. Rows that ran together have
the same `inferctl.batch_id`: a batch belongs to many traces, and is no span in any of them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from random import getrandbits

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from inferctl import __version__
from inferctl.server.call import PHASES, Call
from inferctl.server.line import MAX_PATH_CHARS
from inferctl.server.traces import Answered

log = structlog.get_logger()

SERVICE = "inferctl"
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SERVER_FAULT = 500
NS = 1_000_000_000
INFERENCE = "inference"
# Every span of a request repeats it: of longer ones nothing is passed on, as the standard allows.
MAX_TRACESTATE_BYTES = 512

Attributes = dict[str, str | int | Sequence[str]]


class SpanExporter:
    """Sends to where OTEL_EXPORTER_OTLP_ENDPOINT, or ..._TRACES_ENDPOINT, says."""

    def __init__(self) -> None:
        # It would tell of each failure, with a traceback.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._otlp = OTLPSpanExporter()
        self._span = partial(
            ReadableSpan,
            resource=_resource(),
            instrumentation_scope=InstrumentationScope(SERVICE, __version__),
        )
        self._is_failing = False

    def export(self, requests: Sequence[Answered]) -> bool:
        """Send their spans; whether they arrived. It is told when that changes."""
        # Both clocks go on, and one of them may be set meanwhile.
        offset_ns = time.time_ns() - time.monotonic_ns()
        spans = [span for request in requests for span in self._spans_of(request, offset_ns)]
        fails = self._otlp.export(spans) is not SpanExportResult.SUCCESS
        if fails and not self._is_failing:
            log.warning("traces cannot be sent: look at OTEL_EXPORTER_OTLP_ENDPOINT")
        elif self._is_failing and not fails:
            log.info("traces are sent again")
        self._is_failing = fails
        return not fails

    def close(self) -> None:
        """Try no longer to send."""
        self._otlp.shutdown()  # type: ignore[no-untyped-call] # theirs

    def _spans_of(self, request: Answered, offset_ns: int) -> Iterator[ReadableSpan]:
        call, trace = request.call, request.trace
        state = _state_of(call) if trace.parent_id else None
        trace_id = int(trace.trace_id, 16)
        new_context = partial(_new_context, trace_id=trace_id, state=state)
        context = new_context()
        parent = None
        if trace.parent_id:
            parent = SpanContext(trace_id, int(trace.parent_id, 16), True, SAMPLED, state)
        failed = request.status >= SERVER_FAULT
        yield self._span(
            f"{call.method} {call.route}", context, parent,
            kind=SpanKind.SERVER, attributes=_of_request(request),
            status=Status(StatusCode.ERROR, request.outcome) if failed else Status(),
            start_time=_ns(call.begun_s) + offset_ns, end_time=_ns(call.ended_s) + offset_ns,
        )  # fmt: skip
        for item, part in enumerate(call.parts or (call,)):
            attributes: Attributes = {"inferctl.item": item} if call.parts else {}
            for phase, begun_s, ended_s in _phases_of(part):
                own = attributes | _of_run(part) if phase == INFERENCE else attributes
                yield self._span(
                    phase, new_context(), context, attributes=own,
                    start_time=_ns(begun_s) + offset_ns, end_time=_ns(ended_s) + offset_ns,
                )  # fmt: skip


def _resource() -> Resource:
    """Who we are; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES know better."""
    found = Resource.create({"service.version": __version__, "process.pid": os.getpid()})
    if str(found.attributes["service.name"]).startswith("unknown_service"):
        return found.merge(Resource({"service.name": SERVICE}))
    return found


def _phases_of(call: Call) -> Iterator[tuple[str, float, float]]:
    """Each phase that it came through, from when to when on the monotonic clock.

    Decoding ends with the submission, with which the queue begins, and with that its run; the
    outputs are looked at last.
    """
    took_s = [ms / 1000 for ms in call.phases_ms]
    begins_s = call.submitted_s - took_s[0] if took_s else 0.0
    for phase, phase_s in zip(PHASES[:-1], took_s, strict=False):
        yield phase, begins_s, begins_s + phase_s
        begins_s += phase_s
    if len(took_s) == len(PHASES):
        yield PHASES[-1], call.ended_s - took_s[-1], call.ended_s


def _of_request(request: Answered) -> Attributes:
    call = request.call
    attributes: Attributes = {
        "http.request.method": call.method,
        "http.route": call.route,
        "url.path": call.path[:MAX_PATH_CHARS],
        "http.response.status_code": request.status,
        "http.request.body.size": call.body_bytes,
        "inferctl.request_id": call.request_id.decode("ascii"),
        "inferctl.outcome": request.outcome,
    }
    if call.model:
        attributes |= _of_model(call) | {"inferctl.rows": call.rows}
    if call.key is not None:
        attributes["inferctl.key_id"] = call.key.name
    if request.status >= SERVER_FAULT:
        attributes["error.type"] = request.outcome
    return attributes


def _of_model(call: Call) -> Attributes:
    return {"gen_ai.request.model": call.model, "inferctl.model.version": call.version}


def _of_run(call: Call) -> Attributes:
    return _of_model(call) | {
        "inferctl.rows": call.rows,
        "inferctl.batch_rows": call.batch_rows,
        "inferctl.batch_id": [f"{_ns(started_s):x}" for started_s in call.batches],
    }


def _new_context(trace_id: int, state: TraceState | None) -> SpanContext:
    return SpanContext(trace_id, getrandbits(64) or 1, False, SAMPLED, state)


def _state_of(call: Call) -> TraceState | None:
    """What other tracers have the caller pass on."""
    given = call.fields.get(b"tracestate", b"")
    if not 0 < len(given) <= MAX_TRACESTATE_BYTES:
        return None
    return TraceState.from_header([given.decode("latin-1")])


def _ns(seconds: float) -> int:
    return round(seconds * NS)
