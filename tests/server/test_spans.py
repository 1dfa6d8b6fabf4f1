"""What arrives at a collector of a request, by OTLP over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from inferctl import __version__
from inferctl.arena.wire import Verdict
from inferctl.server.call import PHASES, Reply
from inferctl.server.line import MAX_PATH_CHARS
from inferctl.server.spans import MAX_TRACESTATE_BYTES, SpanExporter
from inferctl.server.traces import Answered, Traces
from inferctl.tracing import Tracing
from tests.collector import Collector, collecting, values
from tests.tasks.tinybundles import numbers

from .asgi import get, make_call, post_json
from .wiring import WORKER, Worker, make_ledger, working

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
IN_TRACE = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "a=1,b=2"}
INPUTS = {"inputs": [0, 0, 0, 0]}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def new_traces() -> Traces:
    dropped = make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    return Traces(Tracing(), SpanExporter(), dropped)


def by_name(spans: list[Span]) -> dict[str, Span]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


async def asked(tmp_path: Path, collector: Collector, ask: Any, **options: Any) -> list[Span]:
    """The spans of what is asked of a worker."""
    traces = new_traces()
    async with working(tmp_path, numbers(), traces=traces, **options) as worker:
        await ask(worker)
    traces.close()
    return collector.spans


async def test_a_request_is_a_span_of_its_caller_s_trace_with_its_phases(
    tmp_path: Path, collector: Collector
) -> None:
    async def ask(worker: Worker) -> None:
        await post_json(worker.app, INPUTS, headers=IN_TRACE | {"X-Request-ID": "me"})

    spans = by_name(await asked(tmp_path, collector, ask))
    server = spans.pop("POST predict")
    assert server.kind == Span.SPAN_KIND_SERVER
    assert server.parent_span_id.hex() == PARENT_ID
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert values(server.attributes) == {
        "http.request.method": "POST",
        "http.route": "predict",
        "url.path": "/predict",
        "http.response.status_code": 200,
        "http.request.body.size": len(b'{"inputs":[0,0,0,0]}'),
        "inferctl.request_id": "me",
        "inferctl.outcome": "ok",
        "gen_ai.request.model": "sums",
        "inferctl.model.version": 3,
        "inferctl.rows": 1,
    }
    assert list(spans) == list(PHASES)
    for span in (server, *spans.values()):
        assert (span.trace_id.hex(), span.trace_state) == (TRACE_ID, "a=1,b=2")
    for span in spans.values():
        assert span.parent_span_id == server.span_id
        assert span.kind == Span.SPAN_KIND_INTERNAL
    assert collector.paths == ["/v1/traces"]


async def test_phases_follow_each_other_inside_of_the_request(
    tmp_path: Path, collector: Collector
) -> None:
    async def ask(worker: Worker) -> None:
        await post_json(worker.app, INPUTS)

    server, *phases = await asked(tmp_path, collector, ask)
    rounding_ns = 2000
    moments = [server.start_time_unix_nano]
    for span in phases:
        moments += [span.start_time_unix_nano, span.end_time_unix_nano]
    moments.append(server.end_time_unix_nano)
    for before, after in pairwise(moments):
        assert before <= after + rounding_ns
    assert server.parent_span_id == b""


def test_a_phase_lies_where_it_was(collector: Collector) -> None:
    """The queue begins with the submission; the outputs are looked at last."""
    call = make_call(headers=IN_TRACE)
    call.begun_s, call.submitted_s, call.ended_s = 100.0, 100.3, 101.0
    call.phases_ms += [200, 100, 400, 50]
    assert call.trace is not None
    exporter = SpanExporter()
    exporter.export([Answered(call, call.trace, 200, "ok", 5)])
    exporter.close()
    begun_ns = collector.spans[0].start_time_unix_nano
    moments_ms = {
        span.name: tuple(
            round((moment - begun_ns) / 1e6)
            for moment in (span.start_time_unix_nano, span.end_time_unix_nano)
        )
        for span in collector.spans
    }
    assert moments_ms == {
        "POST predict": (0, 1000),
        "decode": (100, 300),
        "queue": (300, 400),
        "inference": (400, 800),
        "postprocess": (950, 1000),
    }


def test_what_a_client_sent_makes_no_span_large(collector: Collector) -> None:
    """A path is cut; of a tracestate all is passed on, or nothing."""
    longest = f"a={'1' * 252},b={'2' * (MAX_TRACESTATE_BYTES - 257)}"
    traces = new_traces()
    for state in (longest, f"{longest}2"):
        call = make_call(headers=IN_TRACE | {"tracestate": state}, path="/" + "x" * 1000)
        traces.record(call, Reply(200, b""))
    traces.close()
    assert [span.trace_state for span in collector.spans] == [longest, ""]
    for span in collector.spans:
        assert len(str(values(span.attributes)["url.path"])) == MAX_PATH_CHARS


async def test_rows_of_a_batch_are_found_together(tmp_path: Path, collector: Collector) -> None:
    """Two requests whose rows ran together, and a third."""
    together_s = time.monotonic()

    async def ask(worker: Worker) -> None:
        (model,), engine = worker.models, worker.engine
        asking = [asyncio.ensure_future(post_json(worker.app, INPUTS)) for _ in range(3)]
        for number in range(3):
            _, slot = row = await engine.next()
            model.arena.batch_rows[slot] = 2 if number < 2 else 1
            engine.started_s = together_s if number < 2 else None
            engine.answer(row)
        await asyncio.gather(*asking)

    spans = await asked(tmp_path, collector, ask, verdict=None)
    runs = [values(span.attributes) for span in spans if span.name == "inference"]
    batches = [(run["inferctl.batch_id"], run["inferctl.batch_rows"]) for run in runs]
    assert batches[0] == batches[1] == ([f"{round(together_s * 1e9):x}"], 2)
    assert batches[2][0] != batches[0][0]


async def test_each_item_has_its_own_phases(tmp_path: Path, collector: Collector) -> None:
    async def ask(worker: Worker) -> None:
        await post_json(worker.app, {"items": [INPUTS, INPUTS]})

    server, *phases = await asked(tmp_path, collector, ask)
    assert values(server.attributes)["inferctl.rows"] == 2
    items = [(values(span.attributes)["inferctl.item"], span.name) for span in phases]
    assert items == [(item, phase) for item in range(2) for phase in PHASES]


async def test_what_fails_is_an_error_where_it_is_ours(
    tmp_path: Path, collector: Collector
) -> None:
    async def ask(worker: Worker) -> None:
        await post_json(worker.app, INPUTS)
        await post_json(worker.app, {"inputs": []})
        await get(worker.app, "/nothing")
        await get(worker.app, "/models")
        await get(worker.app, "/livez")

    spans = await asked(tmp_path, collector, ask, verdict=Verdict.FAILED)
    told = {
        (span.name, values(span.attributes).get("inferctl.outcome"), span.status.code)
        for span in spans
    }
    assert told == {
        ("POST predict", "row_failed", Status.STATUS_CODE_ERROR),
        ("decode", None, Status.STATUS_CODE_UNSET),
        ("POST predict", "unprocessable", Status.STATUS_CODE_UNSET),
        ("GET unmatched", "not_found", Status.STATUS_CODE_UNSET),
        ("GET /models", "ok", Status.STATUS_CODE_UNSET),
    }


async def test_a_log_line_names_the_trace_that_its_request_began(
    tmp_path: Path, collector: Collector
) -> None:
    logged: list[dict[str, Any]] = []

    async def ask(worker: Worker) -> None:
        await post_json(worker.app, INPUTS)
        logged.extend(worker.logged())

    spans = await asked(tmp_path, collector, ask)
    assert {span.trace_id.hex() for span in spans} == {logged[0]["trace_id"]}


@pytest.mark.parametrize(("name", "expected"), [(None, "inferctl"), ("mine", "mine")])
def test_the_service_has_the_name_that_it_was_given(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, name: str | None, expected: str
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    if name:
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    traces = new_traces()
    traces.record(make_call(), Reply(200, b""))
    traces.close()
    (resource,) = collector.resources
    assert (resource["service.name"], resource["service.version"]) == (expected, __version__)


def test_it_is_told_once_that_nothing_arrives_and_once_that_it_does_again(
    collector: Collector,
) -> None:
    exporter = SpanExporter()
    call = make_call(headers=IN_TRACE)
    assert call.trace is not None
    requests = [Answered(call, call.trace, 200, "ok", 1)]
    with capture_logs() as told:
        collector.status = 400  # no use to try again
        assert [exporter.export(requests) for _ in range(2)] == [False, False]
        collector.status = 200
        assert [exporter.export(requests) for _ in range(2)] == [True, True]
    assert [event["log_level"] for event in told] == ["warning", "info"]
    exporter.close()
