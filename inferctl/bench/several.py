"""Several loads of one server: a sweep with its knee, or the search for the highest rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inferctl.bench.measurement import Arrivals, Bench, Load, Measurement
from inferctl.bench.report.words import ms, per_s
from inferctl.bench.search import Highest, find_highest
from inferctl.bench.slo import Judged, Slo, judge
from inferctl.bench.sweep import attempted, knee_of, sweep
from inferctl.errors import BenchError

# In a closed loop so many users saturate most servers; less than what they get is a first guess.
USERS = 16
SATURATION_S = 2.0
GUESS = 0.8
# A rate is not offered for longer than this to judge it.
LONGEST_PROBE_S = 30.0


@dataclass(frozen=True, slots=True)
class Several:
    """What several loads came to: those `measured`, of which at least one has windows.

    `knee` is that of a sweep, `highest` what a search for the highest rate found.
    """

    measured: tuple[Measurement, ...]
    knee: Measurement | None = None
    highest: Highest | None = None
    interrupted: bool = False

    @property
    def findings(self) -> list[str]:
        """What follows from the loads together, in sentences."""
        told = [] if self.highest is None else list(_found(self.highest))
        if self.knee is not None and self.knee.client.latency is not None:
            told.append(
                f"The knee is at {self.knee.load.label}: {per_s(self.knee.achieved_per_s)}, "
                f"p50 {ms(self.knee.client.latency.p50_ms)}."
            )
        if self.interrupted:
            told.append("Interrupted: these are the loads that were over.")
        return told


def swept(loads: tuple[Load, ...], measure: Callable[[Load], Measurement]) -> Several:
    """Measure one load after the other. Raises BenchError when none was measured."""
    measured = tuple(sweep(loads, measure))
    _check_measured(measured)
    interrupted = len(measured) < len(loads) or any(one.interrupted for one in measured)
    return Several(measured, knee=knee_of(measured), interrupted=interrupted)


def searched(bench: Bench, slo: Slo, warmup_s: float, arrivals: Arrivals = "poisson") -> Several:
    """Search for the highest rate that keeps a limit, from what a few users get.

    Raises BenchError when nothing is answered.
    """
    measured: list[Measurement] = []

    def offer(load: Load) -> Measurement:
        window_s = slo.probe_s(load.rate_per_s or 0.0, LONGEST_PROBE_S)
        return bench.measure(load, windows=1, window_s=window_s, warmup_s=warmup_s)

    def probe(rate_per_s: float) -> Judged:
        found = attempted(Load(rate_per_s=rate_per_s, arrivals=arrivals), offer)
        if found.interrupted:
            raise KeyboardInterrupt
        measured.append(found)
        return judge(found, slo)

    first = bench.measure(Load(users=USERS), windows=1, window_s=SATURATION_S, warmup_s=warmup_s)
    if first.interrupted or not first.achieved_per_s:
        _check_measured(())
    highest = find_highest(probe, slo, GUESS * first.achieved_per_s)
    _check_measured(measured)
    return Several(tuple(measured), highest=highest, interrupted=highest.interrupted)


def _check_measured(measured: Sequence[Measurement]) -> None:
    """Raise BenchError, that of the first load if one failed, when none has windows."""
    if not any(one.windows for one in measured):
        failures = (one.failure for one in measured if one.failure)
        raise BenchError(next(failures, "interrupted before anything was measured"))


def _found(highest: Highest) -> Iterator[str]:
    slo, rate_per_s, missed_per_s = highest.slo, highest.rate_per_s, highest.missed_per_s
    if rate_per_s is None:
        yield f"No rate that was offered keeps {slo}."
        return
    if missed_per_s is None:
        yield f"{slo} is kept at {per_s(rate_per_s)}, and perhaps beyond."
    else:
        yield f"{slo} is kept up to {per_s(rate_per_s)}, and missed at {per_s(missed_per_s)}."
    if highest.client_limited:
        yield (
            "Beyond that the load generator may be the limit, and the server do more: "
            f"{highest.client_limited}."
        )
    if not highest.confirmed and not highest.interrupted:
        yield "The two rates were not each measured twice with the same result."
