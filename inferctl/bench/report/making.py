"""A report is made of measurements: figures, circumstances, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import numpy as np
from numpy.typing import NDArray

from inferctl import __version__
from inferctl.bench.figures import order_statistic
from inferctl.bench.measurement import Measurement, Window
from inferctl.bench.plan import Inputs
from inferctl.bench.report.histogram import Histogram
from inferctl.bench.report.record import (
    SCHEMA_VERSION,
    Goodput,
    LoadRecord,
    Model,
    Moment,
    Report,
    Service,
    Settings,
    WindowRecord,
)
from inferctl.bench.report.surroundings import commit_of, locust_version, this_machine
from inferctl.bench.slo import Slo, is_met, judge
from inferctl.bench.target import Target

# Scrapes and window differ by what is under way, and by this share at most; more has other reasons.
SAME_COUNT = 0.1
# Points of a load's course: enough to see a stall, few enough to draw.
MOMENTS = 120
SHORTEST_MOMENT_S = 0.1


def make_report(
    target: Target,
    inputs: Inputs,
    measurements: Sequence[Measurement],
    *,
    warmup_s: float,
    service: Service | None = None,
    session: str | None = None,
    slo: Slo | None = None,
) -> Report:
    """Put figures, circumstances and what to beware of together, in the order of measuring.

    `session` is given to reports of measurements that were made by turns, and is else a new one;
    `slo` is the limit that goodput is under, if any.
    """
    model = target.model
    loads = [record_of(measurement, slo) for measurement in measurements]
    return Report(
        schema_version=SCHEMA_VERSION,
        inferctl_version=__version__,
        locust_version=locust_version(),
        commit=commit_of(Path.cwd()),
        session=session or token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=Settings(target.url, warmup_s, inputs),
        model=Model(model.name, model.version, model.task),
        machine=this_machine(),
        service=service,
        interrupted=any(load.interrupted for load in loads),
        loads=loads,
        notes=[
            *_notes(inputs, service),
            *(note for load in loads for note in (*load.doubts, *_count_notes(load))),
        ],
    )


def record_of(measurement: Measurement, slo: Slo | None = None) -> LoadRecord:
    """A load as it is kept: latencies as histograms, its course, its goodput under a limit."""
    return LoadRecord(
        load=measurement.load,
        client=measurement.client,
        server=measurement.server,
        generator_cpu_cores=measurement.generator_cpu_cores,
        stable=measurement.stable,
        client_limited=measurement.client_limited,
        interrupted=measurement.interrupted,
        counted_from=measurement.counted_from,
        windows=[
            WindowRecord(
                begun_s=window.begun_s,
                duration_s=window.duration_s,
                client=window.client,
                server=window.server,
                generator_cpu_cores=window.generator_cpu_cores,
                latencies=Histogram.of(window.latencies_ms).encode(),
            )
            for window in measurement.windows
        ],
        moments=[*_moments(measurement.windows)],
        goodput=_goodput(measurement, slo) if slo else None,
        failure=measurement.failure,
        by_turns=measurement.by_turns,
    )


def _goodput(measurement: Measurement, slo: Slo) -> Goodput:
    judged = judge(measurement, slo)
    return Goodput(str(slo), judged.within_per_s, is_met([judged], slo))


def _moments(windows: Sequence[Window]) -> Iterator[Moment]:
    """The course of a load, in stretches of equal length within each window."""
    total_s = sum(window.duration_s for window in windows)
    length_s = max(total_s / MOMENTS, SHORTEST_MOMENT_S)
    for window in windows:
        parts = max(round(window.duration_s / length_s), 1)
        part_s = window.duration_s / parts
        numbers = np.minimum((window.begins_s / part_s).astype(np.int64), parts - 1)
        for number in range(parts):
            latencies_ms = window.latencies_ms[numbers == number]
            yield _moment(window.begun_s + number * part_s, part_s, latencies_ms)


def _moment(begun_s: float, duration_s: float, latencies_ms: NDArray[np.float64]) -> Moment:
    ordered = np.sort(latencies_ms)
    p50, p99, most = (
        (order_statistic(ordered, percent) for percent in (50, 99, 100))
        if len(ordered)
        else (None, None, None)
    )
    return Moment(begun_s, duration_s, len(ordered), p50, p99, most)


def _notes(inputs: Inputs, service: Service | None) -> Iterator[str]:
    if inputs.count < inputs.available:
        yield f"{inputs.count:,} of {inputs.available:,} inputs were used, evenly spaced."
    for warning in service.warnings if service else []:
        yield f"The server warns: {warning}"


def _count_notes(load: LoadRecord) -> Iterator[str]:
    """Whether both sides speak of the same requests."""
    counted = (load.server.requests_by_outcome or {}).get("ok")
    if counted is None:
        return
    answered = load.client.answered
    excess = counted - answered
    # What is under way when a window begins or ends: all of the users' requests, or a second's.
    under_way = (load.load.users or load.load.rate_per_s or 0) * len(load.counted)
    if abs(excess) > under_way + SAME_COUNT * answered:
        reason = "someone else used it too" if excess > 0 else "the URL leads to several servers"
        yield (
            f"{load.label}: the server counted {counted:,} good answers, the generator "
            f"{answered:,}: {reason}, so the figures of the two sides are not of the same requests."
        )
