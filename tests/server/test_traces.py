"""Which requests become spans, and that nothing waits for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from inferctl.server import traces
from inferctl.server.call import Call, Reply
from inferctl.server.traces import Answered, Traces
from inferctl.tracing import Tracing

from .asgi import make_call
from .wiring import WORKER, make_ledger

OK = Reply(200, b"a long body")
PARENT = "00f067aa0ba902b7"


class FakeExporter:
    """Takes them, once it may."""

    def __init__(self, *, arrives: bool = True) -> None:
        self.arrives = arrives
        self.messages: list[Sequence[Answered]] = []
        self.sending, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.is_closed = False

    def export(self, requests: Sequence[Answered]) -> bool:
        self.sending.set()
        assert self.go_on.wait(60)
        self.messages.append(requests)
        return self.arrives

    def close(self) -> None:
        self.is_closed = True

    def calls(self) -> list[Call]:
        """Those that were sent."""
        return [request.call for message in self.messages for request in message]


def traced(trace_id: str, flags: str = "01") -> Call:
    return make_call(headers={"traceparent": f"00-{trace_id}-{PARENT}-{flags}"})


def sent(tracing: Tracing, *calls: Call) -> list[Call]:
    exporter = FakeExporter()
    cell = make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    recorder = Traces(tracing, exporter, cell)
    for call in calls:
        recorder.record(call, OK)
    recorder.close()
    assert exporter.is_closed
    assert cell.get() == 0
    return exporter.calls()


def test_a_caller_s_decision_counts_where_the_sampler_follows_parents() -> None:
    kept, left = traced("a" * 32), traced("a" * 32, "00")
    for rate in (0.0, 1.0):
        assert sent(Tracing(True, rate), kept, left) == [kept]
    assert sent(Tracing(False, 1.0), kept, left) == [kept, left]
    assert sent(Tracing(False, 0.0), kept, left) == []


IDS = [f"{'a' * 16}{number * 2**60 * 16 // 10:016x}" for number in range(10)]


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.75, 1.0])
def test_a_ratio_keeps_what_opentelemetry_keeps(rate: float) -> None:
    sampler = TraceIdRatioBased(rate)
    decisions = (sampler.should_sample(None, int(each, 16), "") for each in IDS)
    expected = [
        each for each, kept in zip(IDS, decisions, strict=True) if kept.decision.is_sampled()
    ]
    found = [call.trace for call in sent(Tracing(False, rate), *map(traced, IDS))]
    assert [trace.trace_id.decode() for trace in found if trace] == expected


def test_a_request_without_a_trace_begins_one_if_it_is_kept() -> None:
    kept, other = make_call(), make_call()
    assert sent(Tracing(True, 1.0), kept, other) == [kept, other]
    assert kept.trace is not None
    assert other.trace is not None
    assert kept.trace.trace_id != other.trace.trace_id
    assert len(kept.trace.trace_id) == 32
    assert (kept.trace.parent_id, kept.trace.sampled) == (b"", True)
    left = make_call()
    assert sent(Tracing(True, 0.0), left) == []
    assert left.trace is None, "its line names no trace that nobody has"


def test_what_finds_no_room_is_dropped_and_its_spans_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "MAX_WAITING_SPANS", 2 * 5)
    monkeypatch.setattr(traces, "GATHER_S", 0)
    exporter = FakeExporter()
    exporter.go_on.clear()
    dropped = make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    recorder = Traces(Tracing(), exporter, dropped)
    calls = [make_call() for _ in range(6)]
    for call in calls:
        call.phases_ms += [1, 2, 3, 4]
    recorder.record(calls[0], OK)
    assert exporter.sending.wait(60)
    for call in calls[1:]:
        recorder.record(call, OK)
    assert dropped.get() == 3 * 5
    exporter.go_on.set()
    recorder.close()
    assert exporter.calls() == calls[:3]


def test_what_does_not_arrive_is_counted() -> None:
    exporter = FakeExporter(arrives=False)
    dropped = make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    recorder = Traces(Tracing(), exporter, dropped)
    part, call = make_call(), make_call()
    part.phases_ms += [1, 2, 3, 4]
    call.gather([part, part])
    recorder.record(call, OK)
    recorder.close()
    assert dropped.get() == 1 + 2 * 4


@pytest.mark.parametrize(
    ("spans", "messages"),
    [
        ([1] * 10, [[1, 1, 1, 1, 1, 1, 1, 1], [1, 1]]),
        ([1, 7, 1, 1, 13, 5, 1], [[1, 7], [1, 1], [13], [5, 1]]),
    ],
)
def test_a_message_has_so_many_spans_or_those_of_one_request(
    monkeypatch: pytest.MonkeyPatch, spans: list[int], messages: list[list[int]]
) -> None:
    """They wait for a first message to be taken."""
    monkeypatch.setattr(traces, "MAX_SENT_SPANS", 8)
    monkeypatch.setattr(traces, "GATHER_S", 0)
    exporter = FakeExporter()
    exporter.go_on.clear()
    recorder = Traces(
        Tracing(), exporter, make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    )
    recorder.record(make_call(), OK)
    assert exporter.sending.wait(60)
    for count in spans:
        call, part = make_call(), make_call()
        part.phases_ms += range(count - 1)
        call.gather([part])
        recorder.record(call, OK)
    exporter.go_on.set()
    recorder.close()
    found = [[request.spans for request in message] for message in exporter.messages]
    assert found == [[1], *messages]


def test_what_fills_a_message_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst would find no room though the collector is idle."""
    monkeypatch.setattr(traces, "MAX_SENT_SPANS", 4)
    monkeypatch.setattr(traces, "GATHER_S", 3600)
    exporter = FakeExporter()
    recorder = Traces(
        Tracing(), exporter, make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    )
    for _ in range(4):
        assert not exporter.sending.is_set()
        recorder.record(make_call(), OK)
    assert exporter.sending.wait(60)
    recorder.close()
    assert [len(message) for message in exporter.messages] == [4]


def test_a_collector_that_hangs_does_not_hold_up_the_end() -> None:
    exporter = FakeExporter()
    exporter.go_on.clear()
    recorder = Traces(
        Tracing(), exporter, make_ledger().blocks[WORKER].cell("inferctl_spans_dropped_total")
    )
    recorder.record(make_call(), OK)
    recorder.close(0)
    assert exporter.is_closed
    exporter.go_on.set()
    recorder.close()
