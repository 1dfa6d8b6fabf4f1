"""Two reports side by side: which figures of which loads are compared, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from inferctl.bench.gate.regression import MIN_WINDOWS, Change, Series, change_of
from inferctl.bench.gate.ruling import Case
from inferctl.bench.report.record import LoadRecord, Report, WindowRecord
from inferctl.bench.report.words import ms, per_s

# Of two measurements on one machine neither was slower than this by the machine's doing.
MOST_OF_A_MACHINE = 1.8
# Between runs of benchmarks/gate.py, and within them, it was 0.6 to 0.7.
SLOPE = 0.65
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Figure:
    """What is compared of windows: its name, and whether more of it is worse."""

    name: str
    more_is_worse: bool

    def of(self, window: WindowRecord) -> float | None:
        """Its value; None of a window without an answer."""
        latency = window.client.latency
        if latency is None:
            return None
        if self.name == "throughput":
            return window.client.throughput_per_s
        return float(getattr(latency, f"{self.name}_ms"))

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return per_s(value) if self.name == "throughput" else ms(value)


THROUGHPUT, MEDIAN, TAIL = Figure("throughput", False), Figure("p50", True), Figure("p99", True)
# Of a closed loop throughput and median are one figure; of an open one throughput is what is
# offered.
CLOSED, OPEN = (THROUGHPUT, TAIL), (MEDIAN, TAIL)


def compare(old: Report, new: Report, limit: float) -> tuple[list[Case], list[str]]:
    """A case for each figure at each load that both have, and what to beware of.

    A load that the new report has alone, or with too few windows, fails: nothing was found out.
    Of one that failed there is nothing to compare.
    """
    before = {load.load: load for load in old.loads}
    paired = old.session == new.session
    # By turns the machine is out of it already; and the slower server's generator wakes up for
    # fewer requests, so that a third of the difference would pass for the machine's.
    slope = _slope(new) if not paired and _has_same_generator(old, new) else None
    cases = [
        case
        for load in new.loads
        if not load.failure
        for case in _load_cases(before.get(load.load), load, limit, slope, paired)
    ]
    return cases, [*_notes(old, new)]


def changes_of(
    old: LoadRecord, new: LoadRecord, slope: float | None, *, paired: bool = False
) -> Iterator[tuple[Figure, Change | None]]:
    """What became of each figure; None where there are too few windows with answers.

    `slope` is how far latency is thought to follow the generator's CPU per request; None: ignored.
    `paired`: they were measured by turns.
    """
    figures = CLOSED if new.load.users is not None else OPEN
    with_effort = slope is not None and _is_one_generator(old, new)
    for figure in figures:
        series = [_series(load, figure, with_effort) for load in (old, new)]
        if min(len(one.values) for one in series) < MIN_WINDOWS:
            yield figure, None
        else:
            change = change_of(
                *series, more_is_worse=figure.more_is_worse, slope=slope or 0.0,
                paired=paired and len({len(one.values) for one in series}) == 1,
                tests=len(figures),
            )  # fmt: skip
            yield figure, change


def _load_cases(
    old: LoadRecord | None, new: LoadRecord, limit: float, slope: float | None, paired: bool
) -> Iterator[Case]:
    if old is None or old.failure:
        missing = "no load of" if old is None else "nothing measured at"
        yield Case("regression", "baseline", False, f"it has {missing} {new.label}")
        return
    for figure, change in changes_of(old, new, slope, paired=paired):
        name = f"{figure.name} within {100 * limit:.3g}% of the baseline"
        if change is None:
            told = f"fewer than {MIN_WINDOWS} windows with answers at {new.label}"
            yield Case("regression", name, False, told)
        else:
            passed = not change.exceeds(limit)
            yield Case("regression", name, passed, f"{told_of(figure, change)} at {new.label}")


def told_of(figure: Figure, change: Change) -> str:
    """A change in words."""
    better, size = ("slower", change.worse) if change.worse >= 0 else ("faster", -change.worse)
    low, high = (change.low, change.high)
    raw = f", as measured {change.raw:+.1%}" if abs(change.raw - change.worse) >= 0.005 else ""
    return (
        f"{size:.1%} {better} ({low:+.1%} to {high:+.1%}{raw}), "
        f"{figure.shown(change.old)} -> {figure.shown(change.new)}"
    )


def _series(load: LoadRecord, figure: Figure, with_effort: bool) -> Series:
    """A figure in the windows that count, and the generator's CPU per request in each."""
    known = [(window, value) for window in load.counted if (value := figure.of(window))]
    effort = [_effort_s(window) for window, _ in known]
    # One that is not known would look like another speed.
    whole = [one if with_effort and one and None not in effort else 1.0 for one in effort]
    return Series(np.array([value for _, value in known]), np.array(whole))


def _is_one_generator(old: LoadRecord, new: LoadRecord) -> bool:
    """Whether efforts differ by no more than a machine does: else the work was another.

    It would be with another number of generator processes.
    """
    efforts = [_series(load, TAIL, True).effort for load in (old, new)]
    if not all(len(effort) for effort in efforts):
        return False
    means = [float(np.log(effort).mean()) for effort in efforts]
    return abs(means[0] - means[1]) < math.log(MOST_OF_A_MACHINE)


def _effort_s(window: WindowRecord) -> float | None:
    requests = window.client.answered + window.client.failed
    if not window.generator_cpu_cores or not requests:
        return None
    return window.generator_cpu_cores * window.duration_s / requests


def _slope(report: Report) -> float:
    """How far latency is thought to follow the generator's CPU per request: on one machine as far
    as it did on ours; with another one, or a GPU, not at all."""
    local = urlsplit(report.settings.url).hostname in LOCAL
    on_cpu = report.service is None or report.service.device in (None, "cpu")
    return SLOPE if local and on_cpu else 0.0


def _has_same_generator(old: Report, new: Report) -> bool:
    """Whether a request was the same work for both generators."""
    return _generator(old) == _generator(new)


def _generator(report: Report) -> tuple[object, ...]:
    inputs, machine = report.settings.inputs, report.machine
    return (
        report.inferctl_version, report.locust_version, machine.python, machine.cpu, inputs.source,
        round(inputs.mean_bytes),
    )  # fmt: skip


def _notes(old: Report, new: Report) -> Iterator[str]:
    """Why the two may not be comparable."""
    if not _has_same_generator(old, new):
        yield "The baseline had another generator: the machine's speed is not taken out."
    machines = [(one.machine.cores, one.machine.cpu) for one in (old, new)]
    if machines[0] != machines[1]:
        yield "The baseline was measured on another machine: the comparison says little."
    if old.model.name != new.model.name or old.model.task != new.model.task:
        yield f"The baseline is of another model, {old.model.name}."
    if (old.settings.inputs.source, old.settings.inputs.mean_bytes) != (
        new.settings.inputs.source, new.settings.inputs.mean_bytes,
    ):  # fmt: skip
        yield "The baseline was measured with other inputs."
    again = {load.load for load in new.loads}
    if left := [load.label for load in old.loads if load.load not in again]:
        yield f"Not measured again: {', '.join(left)}."
