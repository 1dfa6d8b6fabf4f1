"""The report as CSV in the columns of Locust or of perf_analyzer, whose readers exist already."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import quote

from inferctl.bench.report.histogram import Histogram
from inferctl.bench.report.record import LoadRecord, Report
from inferctl.bench.report.split import (
    DECODE,
    INFERENCE,
    NETWORK,
    OTHER,
    POSTPROCESS,
    QUEUE,
    phases_of,
)
from inferctl.bench.report.words import latencies, percentile_ms

CsvStyle: TypeAlias = Literal["locust", "perf-analyzer"]

LOCUST_PERCENTS = (50, 66, 75, 80, 90, 95, 98, 99, 99.9, 99.99, 100)
LOCUST_COLUMNS = (
    "Type", "Name", "Request Count", "Failure Count", "Median Response Time",
    "Average Response Time", "Min Response Time", "Max Response Time", "Average Content Size",
    "Requests/s", "Failures/s", *(f"{percent:g}%" for percent in LOCUST_PERCENTS),
)  # fmt: skip
ANALYZER_PERCENTS = (50, 90, 95, 99)
ANALYZER_COLUMNS = (
    "Inferences/Second", "Client Send", "Network+Server Send/Recv", "Server Queue",
    "Server Compute Input", "Server Compute Infer", "Server Compute Output", "Client Recv",
    *(f"p{percent} latency" for percent in ANALYZER_PERCENTS),
)  # fmt: skip
US_PER_MS = 1000


def to_csv(report: Report, style: CsvStyle) -> str:
    """A table of all loads."""
    rows = _analyzer_rows(report) if style == "perf-analyzer" else _locust_rows(report)
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(rows)
    return written.getvalue()


def _locust_rows(report: Report) -> Iterator[list[object]]:
    """A line for each load and, as Locust ends, one named Aggregated.

    Milliseconds, with their places behind the point. Locust has one load only and names a line
    after its URL; of several each has the load behind that.
    """
    yield [*LOCUST_COLUMNS]
    path = report.settings.inputs.path or f"/models/{quote(report.model.name, safe='')}/predict"
    for load in report.loads:
        name = path if len(report.loads) == 1 else f"{path} [{load.label}]"
        yield ["POST", name, *_locust_cells([load])]
    yield ["", "Aggregated", *_locust_cells(report.loads)]


def _locust_cells(loads: list[LoadRecord]) -> Iterator[object]:
    answered = sum(load.client.answered for load in loads)
    failed = sum(load.client.failed for load in loads)
    duration_s = sum(load.duration_s for load in loads) or 1.0
    means = [(load.client.latency, load.client.answered) for load in loads]
    total_ms = sum(latency.mean_ms * count for latency, count in means if latency)
    # Locust times failed requests too; here they have no latency.
    yield answered + failed
    yield failed
    yield _percentile(loads, 50, 0)
    yield _ms(total_ms / answered) if answered else 0
    yield min(
        (_ms(float(latencies(load).values_ms[0])) for load in loads if load.client.answered),
        default=0,
    )
    yield _percentile(loads, 100, 0)
    yield 0  # sizes of answers are not kept
    yield round((answered + failed) / duration_s, 3)
    yield round(failed / duration_s, 3)
    yield from (_percentile(loads, percent, "N/A") for percent in LOCUST_PERCENTS)


def _percentile(loads: list[LoadRecord], percent: float, absent: object) -> object:
    """A percentile of one load or of several together, `absent` where nothing was answered."""
    if len(loads) == 1:
        value_ms = percentile_ms(loads[0], percent)
        return absent if value_ms is None else _ms(value_ms)
    found = Histogram.together(map(latencies, loads))
    return _ms(found.percentile_ms(percent)) if found.count else absent


def _ms(value_ms: float) -> float:
    return round(value_ms, 3)


def _analyzer_rows(report: Report) -> Iterator[list[object]]:
    """A line for each load, by throughput ascending; whole microseconds.

    perf_analyzer times sending and receiving by itself; here both are in `Network+Server Send/Recv`
    with whatever the server does not count apart, and their own columns are 0.
    """
    open_loop = all(load.load.rate_per_s is not None for load in report.loads)
    yield ["Request Rate" if open_loop else "Concurrency", *ANALYZER_COLUMNS]
    for load in sorted(report.loads, key=lambda load: load.client.throughput_per_s):
        offered = load.load.rate_per_s if open_loop else load.load.users or 0
        yield [f"{offered:g}", round(load.client.throughput_per_s, 3), *_analyzer_cells(load)]


def _analyzer_cells(load: LoadRecord) -> Iterator[int]:
    parts = {phase.name: phase.ms for phase in phases_of(load)}
    latency = load.client.latency
    # A server without metrics has no parts: all of it is then on the way.
    whole_ms = latency.mean_ms if latency else 0.0
    network_ms = parts.get(NETWORK, whole_ms) + parts.get(OTHER, 0.0)
    yield 0
    yield _us(network_ms)
    yield from (_us(parts.get(name, 0.0)) for name in (QUEUE, DECODE, INFERENCE, POSTPROCESS))
    yield 0
    for percent in ANALYZER_PERCENTS:
        yield _us(percentile_ms(load, percent) or 0.0)


def _us(value_ms: float) -> int:
    return round(value_ms * US_PER_MS)
