"""Two readings of a service as figures of the time between them.

A counter that fell belongs to another life of the service, or of the model: it is taken to have
begun at zero, so that no figure is negative. Without an earlier reading there are no rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from inferctl.client import Health
from inferctl.top.reading import Histogram, ModelReading, ProcessReading, Reading

OK = "ok"
# Counted as shed, by the same refusals.
OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model. `errors_per_s` are answers that are neither good nor 429, `lost_per_s` requests
    that were refused with 429 and rows that were dropped. What nothing was measured for is None.

    `in_flight_share` is of the rows that may be.
    """

    requests_per_s: float | None
    errors_per_s: float | None
    p50_ms: float | None
    p99_ms: float | None
    batch_rows: float | None
    queue_rows: float
    lost_per_s: float | None
    in_flight: float
    in_flight_share: float | None


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """All processes of a role; `cores` is their CPU time over the time."""

    cores: float | None
    resident_bytes: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown of a service; `seconds` is what rates are taken over, None without one."""

    seconds: float | None
    health: Health
    models: Mapping[str, ModelFigures]
    processes: Mapping[str, ProcessFigures]
    gpus: Mapping[str, Mapping[str, float]]


def figures_of(before: Reading | None, now: Reading) -> Figures:
    """The figures of the time since `before`, or of the moment alone."""
    seconds = None
    if before is not None:
        seconds = now.at_s - before.at_s
        if now.health.uptime_s < before.health.uptime_s:  # it lives for a part of that time only
            seconds = min(seconds, now.health.uptime_s)
    return Figures(
        seconds,
        now.health,
        {name: _model(name, before, now, seconds) for name in now.models},
        {
            role: _process(before.processes.get(role) if before else None, process, seconds)
            for role, process in now.processes.items()
        },
        now.gpus,
    )


def quantile(histogram: Histogram, share: float) -> float | None:
    """As Prometheus estimates it, evenly spread inside a bucket; above the largest bound it says
    that bound. None of no values."""
    rank = share * histogram.count
    lower = below = 0.0
    for bound, up_to in histogram.buckets.items():
        if up_to >= rank and up_to > below:
            if bound == inf:
                return lower
            return lower + (bound - lower) * (rank - below) / (up_to - below)
        lower, below = bound, up_to
    return None


def _model(name: str, before: Reading | None, now: Reading, seconds: float | None) -> ModelFigures:
    model = now.models[name]
    earlier = before.models.get(name, ModelReading()) if before else model
    grown = _grown(earlier, model)
    answered = sum(grown.answered.values())
    well = grown.answered.get(OK, 0.0) + grown.answered.get(OVERLOADED, 0.0)
    return ModelFigures(
        requests_per_s=_rate(answered, seconds),
        errors_per_s=_rate(answered - well, seconds),
        p50_ms=_ms(quantile(grown.latency_s, 0.5)),
        p99_ms=_ms(quantile(grown.latency_s, 0.99)),
        batch_rows=grown.batch_rows.total / grown.batch_rows.count
        if grown.batch_rows.count
        else None,
        queue_rows=model.queue_rows,
        lost_per_s=_rate(grown.shed + grown.dropped, seconds),
        in_flight=model.in_flight,
        in_flight_share=model.in_flight / model.slots if model.slots else None,
    )


def _grown(before: ModelReading, now: ModelReading) -> ModelReading:
    """What was counted in between; the gauges are left out."""
    if _fell(before, now):
        before = ModelReading()
    return ModelReading(
        answered={
            outcome: count - before.answered.get(outcome, 0.0)
            for outcome, count in now.answered.items()
        },
        latency_s=_since(before.latency_s, now.latency_s),
        batch_rows=_since(before.batch_rows, now.batch_rows),
        shed=now.shed - before.shed,
        dropped=now.dropped - before.dropped,
    )


def _fell(before: ModelReading, now: ModelReading) -> bool:
    """Whether any counter did: then all of them began anew."""
    pairs = [(count, now.answered.get(outcome, 0.0)) for outcome, count in before.answered.items()]
    pairs += [(before.shed, now.shed), (before.dropped, now.dropped)]
    for was, has in ((before.latency_s, now.latency_s), (before.batch_rows, now.batch_rows)):
        pairs += [(count, has.buckets.get(bound, 0.0)) for bound, count in was.buckets.items()]
    return any(has < had for had, has in pairs)


def _since(before: Histogram, now: Histogram) -> Histogram:
    buckets = {
        bound: count - before.buckets.get(bound, 0.0) for bound, count in now.buckets.items()
    }
    return Histogram(buckets, now.total - before.total)


def _process(
    before: ProcessReading | None, now: ProcessReading, seconds: float | None
) -> ProcessFigures:
    earlier_s = before.cpu_s if before else 0.0
    used_s = now.cpu_s - earlier_s if now.cpu_s >= earlier_s else now.cpu_s
    return ProcessFigures(_rate(used_s, seconds), now.resident_bytes)


def _rate(count: float, seconds: float | None) -> float | None:
    return count / seconds if seconds else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
