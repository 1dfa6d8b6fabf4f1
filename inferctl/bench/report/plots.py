"""The plots of the page, each an SVG of a report's loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inferctl.bench.report import svg
from inferctl.bench.report.histogram import Histogram
from inferctl.bench.report.record import LoadRecord, Moment
from inferctl.bench.report.split import phases_of
from inferctl.bench.report.words import latencies, ms, percentile_ms, rows_of_bucket

COLOURS = 8
BINS = 60
# Where a distribution is cut off: the rest of the tail is in the percentiles.
SHOWN_PERCENT = 99.9
# Where the latency of the percentiles' plot is read: ever closer to all requests.
PERCENTS = (50, 75, 90, 95, 99, 99.9, 99.99)
STACK_ROW = 34


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture with its heading and a legend of (class, name)."""

    heading: str
    picture: str
    legend: tuple[tuple[str, str], ...] = ()


def plots_of(loads: Sequence[LoadRecord]) -> Iterator[Plot]:
    """Those for which there are figures, the most telling first."""
    with_answers = [load for load in loads if load.client.latency]
    if not with_answers:
        return
    if len(with_answers) > 1:
        yield curve(with_answers)
    # Of many loads the one that gave most is looked at.
    best = max(with_answers, key=lambda load: load.client.throughput_per_s)
    named = f", {best.label}" if len(loads) > 1 else ""
    yield distribution(best, named)
    if any(moment.answered for moment in best.moments):
        yield course(best, named)
    yield tail(with_answers)
    if any(phases_of(load) for load in with_answers):
        yield split(with_answers)
    if best.server.batch_histogram:
        yield batches(best, named)


def curve(loads: Sequence[LoadRecord]) -> Plot:
    """Latency over throughput: right is more, down is sooner."""
    points = [
        (load, load.client.latency.p50_ms, load.client.latency.p99_ms)
        for load in loads
        if load.client.latency
    ]
    x = svg.across(0, max(load.client.throughput_per_s for load in loads) * 1.04)
    y = svg.upwards(
        min(p50 for _, p50, _ in points) * 0.8, max(p99 for *_, p99 in points), log=True
    )
    body = []
    for number, name in ((1, "p50"), (2, "p99")):
        at = [
            (x.at(load.client.throughput_per_s), y.at((p50, p99)[number - 1]))
            for load, p50, p99 in points
        ]
        body.append(svg.line(at, f"c{number}"))
        body += [
            svg.dot(*place, f"fill c{number}", f"{load.label}: {name} {ms((p50, p99)[number - 1])}")
            for place, (load, p50, p99) in zip(at, points, strict=True)
        ]
    body += [
        svg.text(
            x.at(load.client.throughput_per_s), y.at(p50) + 18,
            f"{load.load.users or load.load.rate_per_s:g}", "tick middle",
        )
        for load, p50, _ in points
    ]  # fmt: skip
    picture = svg.frame(
        x, y, body, title="latency over throughput",
        x_label="good answers per second (at points: users, or requests/s offered)",
        y_label="latency, ms",
    )  # fmt: skip
    return Plot("Throughput and latency", picture, (("c1", "p50"), ("c2", "p99")))


def distribution(load: LoadRecord, named: str = "") -> Plot:
    """How many requests took how long, up to p99.9."""
    found = latencies(load)
    values_ms = found.values_ms
    low = max(values_ms[0] * 0.95, svg.SMALLEST)
    high = max(found.percentile_ms(SHOWN_PERCENT), low * 1.2)
    edges = np.geomspace(low, high, BINS + 1)
    heights, _ = np.histogram(values_ms, edges, weights=found.counts)
    x, y = svg.across(low, high, log=True), svg.upwards(0, float(heights.max()))
    body = [
        svg.box(
            x.at(left), y.at(height), x.at(right) - x.at(left) - 0.5, y.at(0) - y.at(height),
            "fill c1", f"{left:.3g}-{right:.3g} ms: {height:,.0f} requests",
        )
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True)
        if height
    ]  # fmt: skip
    for percent in (50, 99):
        value = percentile_ms(load, percent)
        if value is not None and low <= value <= high:
            at = x.at(value)
            body.append(svg.line([(at, y.at(y.high)), (at, y.at(0))], "mark"))
            body.append(svg.text(at + 4, svg.TOP + 10, f"p{percent} {ms(value)}", "tick"))
    picture = svg.frame(
        x, y, body, title="distribution of latencies", x_label="latency, ms (log)",
        y_label="requests",
    )  # fmt: skip
    return Plot(f"Latency distribution{named}", picture)


def course(load: LoadRecord, named: str = "") -> Plot:
    """Percentiles over time; windows that do not count are shaded."""
    known = [moment for moment in load.moments if moment.answered]
    x = svg.across(known[0].begun_s, known[-1].begun_s + known[-1].duration_s)
    y = svg.upwards(
        min(moment.p50_ms or 0 for moment in known) * 0.8,
        max(moment.max_ms or 0 for moment in known), log=True,
    )  # fmt: skip
    body = [
        svg.box(
            x.at(window.begun_s), svg.TOP, x.at(window.begun_s + window.duration_s)
            - x.at(window.begun_s), svg.HEIGHT - svg.TOP - svg.BOTTOM, "shade",
            "this window does not count",
        )
        for window in load.windows[: load.counted_from]
    ]  # fmt: skip
    for kind, of in (("c3", _max), ("c2", _p99), ("c1", _p50)):
        at = [(x.at(one.begun_s + one.duration_s / 2), y.at(of(one))) for one in known]
        body.append(svg.line(at, kind))
    picture = svg.frame(
        x, y, body, title="latency over time", x_label="seconds since the load began",
        y_label="latency, ms (log)",
    )  # fmt: skip
    return Plot(f"Latency over time{named}", picture, (("c1", "p50"), ("c2", "p99"), ("c3", "max")))


def _p50(moment: Moment) -> float:
    return moment.p50_ms or 0.0


def _p99(moment: Moment) -> float:
    return moment.p99_ms or 0.0


def _max(moment: Moment) -> float:
    return moment.max_ms or 0.0


def tail(loads: Sequence[LoadRecord]) -> Plot:
    """Latency by percentile, ever closer to all requests, a line for each load."""
    found = [latencies(load) for load in loads]
    most = max(one.count for one in found)
    # Beyond what there are requests for, a percentile is the maximum again.
    percents = [percent for percent in PERCENTS if (100 - percent) / 100 * most >= 1] or [50]
    shown = [*percents, 100 - 100 / max(most, 2)]
    places = {percent: 1 / (1 - percent / 100) for percent in shown}
    x = svg.across(places[percents[0]], max(places.values()), log=True)
    values = [[_at(one, percent) for percent in shown] for one in found]
    y = svg.upwards(
        min(min(one) for one in values) * 0.8, max(max(one) for one in values), log=True
    )
    body = [
        svg.line(
            [(x.at(places[p]), y.at(v)) for p, v in zip(shown, line, strict=True)], colour(number)
        )
        for number, line in enumerate(values)
    ]
    picture = svg.frame(
        x, y, body, title="latency by percentile", x_label="percentile",
        y_label="latency, ms (log)",
        x_names={places[percent]: f"{percent:g}%" for percent in percents},
    )  # fmt: skip
    legend = tuple((colour(number), load.label) for number, load in enumerate(loads))
    return Plot("Latency by percentile", picture, legend)


def _at(found: Histogram, percent: float) -> float:
    return found.percentile_ms(percent)


def split(loads: Sequence[LoadRecord]) -> Plot:
    """The parts of the mean request, a bar for each load."""
    parts = [(load, phases_of(load)) for load in loads]
    most = max(sum(phase.ms for phase in phases) for _, phases in parts)
    body, names = [], [phase.name for phase in next(phases for _, phases in parts if phases)]
    for row, (load, phases) in enumerate(parts):
        top, left = row * STACK_ROW, 0.0
        body.append(svg.text(0, top + 18, load.label, "tick"))
        for number, phase in enumerate(phases):
            begin = 130 + left / most * (svg.WIDTH - 220)
            width = phase.ms / most * (svg.WIDTH - 220)
            told = f"{phase.name}: {ms(phase.ms)}, {phase.share:.0%}"
            body.append(svg.box(begin, top + 4, width, STACK_ROW - 12, f"fill p{number}", told))
            left += phase.ms
        end = 136 + left / most * (svg.WIDTH - 220)
        body.append(svg.text(end, top + 18, ms(left), "tick"))
    picture = svg.drawing(
        body, title="parts of the mean request", height=max(len(parts) * STACK_ROW, STACK_ROW)
    )
    return Plot(
        "Where the mean request's time goes", picture,
        tuple((f"p{number}", name) for number, name in enumerate(names)),
    )  # fmt: skip


def batches(load: LoadRecord, named: str = "") -> Plot:
    """How many batches had how many rows."""
    buckets = load.server.batch_histogram or []
    x = svg.across(0, len(buckets))
    y = svg.upwards(0, max(bucket.batches for bucket in buckets))
    width = (x.at(1) - x.at(0)) * 0.8
    body = [
        svg.box(
            x.at(number) + width / 8, y.at(bucket.batches), width, y.at(0) - y.at(bucket.batches),
            "fill c1", f"{rows_of_bucket(bucket)} rows: {bucket.batches:,} batches",
        )
        for number, bucket in enumerate(buckets)
    ]  # fmt: skip
    names = {number + 0.5: rows_of_bucket(bucket) for number, bucket in enumerate(buckets)}
    picture = svg.frame(
        x, y, body, title="batch sizes", x_label="rows of a batch", y_label="batches", x_names=names
    )
    return Plot(f"Batch sizes{named}", picture)


def colour(number: int) -> str:
    """The class of a load's line."""
    return f"c{number % COLOURS + 1}"
