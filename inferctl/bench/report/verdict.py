"""The verdict: what a person should know first, in a headline and a few sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inferctl.bench.gate.ruling import Ruling
from inferctl.bench.report.record import LoadRecord, Report
from inferctl.bench.report.split import NETWORK, largest, phases_of
from inferctl.bench.report.words import error_rate, ms, per_s, share

Status: TypeAlias = Literal["measured", "passed", "failed", "doubtful"]
TITLES: dict[Status, str] = {
    "measured": "Measured", "passed": "Passed", "failed": "Failed", "doubtful": "Beware",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """`headline` is the figures in a line; `sentences` are what stands behind them."""

    status: Status
    headline: str
    sentences: list[str]

    @property
    def title(self) -> str:
        """The status in a word."""
        return TITLES[self.status]


def verdict_of(report: Report, ruling: Ruling | None = None) -> Verdict:
    """Judge a report, and what a gate said of it."""
    best = max(report.loads, key=lambda load: load.client.throughput_per_s)
    sentences = [*(ruling.sentences if ruling else ()), *_where_time_goes(best), *report.notes]
    return Verdict(_status(report, ruling), _headline(report, best), sentences)


def _status(report: Report, ruling: Ruling | None) -> Status:
    if ruling is not None and not ruling.passed:
        return "failed"
    if report.interrupted or any(load.doubts for load in report.loads):
        return "doubtful"
    return "passed" if ruling is not None else "measured"


def _headline(report: Report, best: LoadRecord) -> str:
    latency = best.client.latency
    times = f", p50 {ms(latency.p50_ms)}, p99 {ms(latency.p99_ms)}" if latency else ""
    most = "at most " if len(report.loads) > 1 else ""
    return (
        f"{report.model.name}: {most}{per_s(best.client.throughput_per_s)} at {best.label}{times}, "
        f"{share(error_rate(best))} errors"
    )


def _where_time_goes(load: LoadRecord) -> Iterator[str]:
    """The largest part of the mean request, and what it means."""
    part = largest(phases_of(load))
    if part is None or load.client.latency is None:
        return
    where = f"{part.name} is {part.share:.0%} of the mean {ms(load.client.latency.mean_ms)}"
    if part.name == NETWORK and part.share > 0.5:
        where += ": the server waits for requests more than it works on them"
    yield f"At {load.label} {where}."
