"""What a candidate's device would carry if nothing else took time: the batcher's rule, simulated.

The engine's own batcher forms the batches, and a run takes what was measured at warm-up. Workers,
sockets and threads cost nothing here, so that the result is a bound from above: a candidate whose
device alone would not carry what another one was measured to carry needs no measurement.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left

from inferctl.bench.search import find_highest
from inferctl.bench.slo import Judged, Slo
from inferctl.engine.batcher import Batcher
from inferctl.engine.costs import CostCurve, knee
from inferctl.engine.lane import Row
from inferctl.tune.curves import RunSeconds
from inferctl.tune.space import Candidate

# So many requests tell a rate that is carried from one that is not; more tell it more exactly.
REQUESTS = 600
PRECISION = 0.1
NEVER_S = 1e9


class Device:
    """Instances that share cores. `curves` are seconds of a run by its rows, by threads.

    With threads "auto" a run has `auto_threads`, or every core while it is alone, as the engine has
    it; whatever it delays by that is not in here.
    """

    def __init__(
        self, candidate: Candidate, curves: dict[int, RunSeconds], cores: int, auto_threads: int = 1
    ) -> None:
        instances, threads = candidate.layout
        self.threads = auto_threads if threads == "auto" else threads
        self.instances = max(1, cores // self.threads) if instances == "auto" else instances
        run_s = curves[self.threads]
        self._curve = _curve(run_s)
        self._alone = _curve(curves[max(curves)]) if threads == "auto" else self._curve
        self._stretch = max(1.0, self.instances * self.threads / cores)
        self.max_rows = knee(run_s) if candidate.batch == "auto" else candidate.batch
        self.max_wait_s = candidate.wait / 1000

    def run_s(self, rows: int, *, alone: bool = False) -> float:
        """How long a run of so many rows takes while all instances run, or while no other does."""
        if alone:
            return min(self._alone.seconds(rows), self._curve.seconds(rows))
        return self._curve.seconds(rows) * self._stretch

    @property
    def most_per_s(self) -> float:
        """Rows per second in full batches."""
        return self.instances * self.max_rows / self.run_s(self.max_rows)


def carried_per_s(
    candidate: Candidate, curves: dict[int, RunSeconds], slo: Slo, cores: int,
    auto_threads: int = 1,
) -> float:  # fmt: skip
    """The highest rate of Poisson arrivals at which the device alone keeps the limit; where none
    was found, the lowest at which it does not."""
    device = Device(candidate, curves, cores, auto_threads)
    found = find_highest(
        lambda rate_per_s: simulate(device, rate_per_s, slo), slo, 0.8 * device.most_per_s,
        precision=PRECISION, most_probes=12, looks=1,
    )  # fmt: skip
    return found.rate_per_s or found.missed_per_s or 0.0


def simulate(device: Device, rate_per_s: float, slo: Slo, seed: int = 0) -> Judged:
    """Offer a rate to the device; one that takes longer than `REQUESTS` is over before its end."""
    rng = random.Random(seed)
    batcher = Batcher(device.max_rows, device.max_wait_s, device.run_s(device.max_rows))
    free_s = [0.0] * device.instances
    latencies_s: list[float] = []
    arrivals_s = []
    now_s = 0.0
    for _ in range(REQUESTS):
        now_s += rng.expovariate(rate_per_s)
        arrivals_s.append(now_s)
    place = 0
    while place < len(arrivals_s) or len(batcher):
        # The first idle runner takes what waits, when the rule lets it leave.
        now_s = max(heapq.heappop(free_s), arrivals_s[place] if not len(batcher) else 0.0)
        place = _arrive(batcher, arrivals_s, place, now_s)
        while (leaves_s := batcher.leaves_at(now_s) or now_s) > now_s:
            following_s = arrivals_s[place] if place < len(arrivals_s) else NEVER_S
            now_s = min(leaves_s, following_s)
            place = _arrive(batcher, arrivals_s, place, now_s)
        batch = batcher.take(now_s, lambda slot: False)
        is_alone = max(free_s, default=0.0) <= now_s
        ends_s = now_s + device.run_s(len(batch.rows), alone=is_alone)
        latencies_s += [ends_s - row.arrived_s for row in batch.rows]
        heapq.heappush(free_s, ends_s)
    late = sum(1000 * latency_s > slo.limit_ms for latency_s in latencies_s)
    ordered = sorted(latencies_s)
    percentile_s = ordered[min(len(ordered) - 1, int(slo.percent / 100 * len(ordered)))]
    seconds = arrivals_s[-1]
    return Judged(
        rate_per_s, seconds, REQUESTS, late, (REQUESTS - late) / seconds, 1000 * percentile_s,
        1000 * ordered[len(ordered) // 2],
    )  # fmt: skip


def _curve(run_s: RunSeconds) -> CostCurve:
    curve = CostCurve()
    for rows, seconds in run_s.items():
        curve.measured(rows, seconds)
    return curve


def _arrive(batcher: Batcher, arrivals_s: list[float], place: int, now_s: float) -> int:
    """Hand over all that have come by now; the place of the next to come."""
    until = bisect_left(arrivals_s, now_s + 1e-12, lo=place)
    batcher.add([Row(slot, arrivals_s[slot], NEVER_S) for slot in range(place, until)])
    return until
