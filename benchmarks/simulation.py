"""The engine's real batcher against a simulated device: arrivals, runners and a clock of its own.

A runner does what `RowQueue.get` and `Runner` do: it asks `leaves_at`, waits until then or for an
arrival, takes a batch, runs it, answers it, and asks again. Not simulated: HTTP, sockets, threads,
how late the kernel wakes anyone up, and the engine's own CPU time. All times are seconds.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

from benchmarks.traffic import Arrival, Traffic
from inferctl.engine.batcher import Batch, Batcher
from inferctl.engine.costs import CostCurve
from inferctl.engine.lane import Row


@dataclass(frozen=True, slots=True)
class Device:
    """What a run takes: a part of its own, and a part per token of each row, padding included.

    An image is one token long. Rows and tokens are padded up to a bucket where there are any, as a
    GPU's are. With `shared`, the work of several instances goes one after another, and so does
    the share of the fixed part that does not overlap.
    """

    fixed_s: float
    token_s: float
    row_buckets: tuple[int, ...] = ()
    token_buckets: tuple[int, ...] = ()
    shared: bool = True
    overlap: float = 1.0

    def work(self, rows: int, longest: int) -> int:
        """Rows times tokens that are run, with their padding."""
        return _padded(rows, self.row_buckets) * _padded(longest, self.token_buckets)

    def run_s(self, rows: int, longest: int = 1) -> float:
        """Seconds of a run that has the device for itself."""
        return self.fixed_s + self.token_s * self.work(rows, longest)

    def per_s(self, rows: int) -> float:
        """Rows/s of one instance, one-token rows, in batches of this size: the ceiling."""
        return rows / self.run_s(rows)

    def curve(self, sizes: Sequence[int], lengths: Sequence[int]) -> CostCurve:
        """What warm-up measures: sizes of rows of the middle length, one row of each length."""
        curve = CostCurve(varies=len(lengths) > 1)
        usual = lengths[len(lengths) // 2]
        points = {(rows, usual) for rows in sizes} | {(1, length) for length in lengths}
        for rows, length in sorted(points):
            curve.measured(self.work(rows, length), self.run_s(rows, length))
        return curve


def _padded(size: int, buckets: tuple[int, ...]) -> int:
    return buckets[bisect_left(buckets, size)] if buckets else size


@dataclass(frozen=True, slots=True)
class Door:
    """As `Admission`, of one worker and without its reserve: at most so many rows in flight.

    With `row_s`, the seconds of device time per row, a row is refused whose predecessors take
    longer than its deadline.
    """

    max_rows: int = 1024
    row_s: float = 0.0

    def admits(self, in_flight: int, timeout_s: float) -> bool:
        """Whether another row may come in."""
        return in_flight < self.max_rows and in_flight * self.row_s <= timeout_s


@dataclass(slots=True)
class Outcome:
    """What became of the rows. `latencies_s`, ascending, are of all that ran, late ones too.

    `answered` counts those that were in time both for their deadline and for the end of
    `seconds`; rows that were still under way then are run, but not counted as throughput.
    """

    seconds: float
    arrived: int = 0
    refused: int = 0
    dropped: int = 0
    late: int = 0
    answered: int = 0
    work: int = 0
    tokens: int = 0
    latencies_s: list[float] = field(default_factory=list)
    # For each batch: its rows, and the seconds of its run.
    batches: list[tuple[int, float]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Rows/s that were answered in time."""
        return self.answered / self.seconds

    @property
    def mean_batch(self) -> float:
        """Rows per batch."""
        return sum(rows for rows, _ in self.batches) / len(self.batches) if self.batches else 0.0

    @property
    def padding(self) -> float:
        """The share of the work that was padding, of rows and of tokens."""
        return 1 - self.tokens / self.work if self.work else 0.0

    def percentile_s(self, percent: float) -> float:
        """The smallest latency that so many percent of the rows did not exceed."""
        if not self.latencies_s:
            return math.nan
        place = math.ceil(len(self.latencies_s) * percent / 100) - 1
        return self.latencies_s[place]


# Kinds of event, in the order of those at the same moment: what ended is answered first.
DONE, ARRIVES, WAKES = range(3)


@dataclass
class Simulation:
    """One run of the real rule."""

    batcher: Batcher
    device: Device
    traffic: Traffic
    seconds: float
    timeout_s: float
    instances: int = 1
    door: Door = field(default_factory=Door)

    def __post_init__(self) -> None:
        self._outcome = Outcome(self.seconds)
        self._events: list[tuple[float, int, int, Arrival | Batch | None]] = []
        self._numbers = count()
        self._lengths: dict[int, int] = {}
        self._in_flight = 0
        self._idle = self.instances
        self._device_free_s = 0.0
        self._wakes_s = 0.0

    @cached_property
    def outcome(self) -> Outcome:
        """Run until nobody comes and nothing waits."""
        for arrival in self.traffic.begin():
            self._at(arrival.at_s, ARRIVES, arrival)
        while self._events:
            now_s, _, _, what = heapq.heappop(self._events)
            if isinstance(what, Arrival):
                self._arrive(now_s, what)
            elif isinstance(what, Batch):
                self._answer(now_s, what)
            self._start(now_s)
        self._outcome.latencies_s.sort()
        return self._outcome

    def _at(self, at_s: float, kind: int, what: Arrival | Batch | None = None) -> None:
        heapq.heappush(self._events, (at_s, kind, next(self._numbers), what))

    def _follow(self, arrival: Arrival | None) -> None:
        if arrival:
            self._at(arrival.at_s, ARRIVES, arrival)

    def _arrive(self, now_s: float, arrival: Arrival) -> None:
        """A row at the door."""
        self._outcome.arrived += 1
        self._follow(self.traffic.after_arrival(now_s))
        if not self.door.admits(self._in_flight, self.timeout_s):
            self._outcome.refused += 1
            return
        self._in_flight += 1
        slot = self._outcome.arrived
        self._lengths[slot] = arrival.tokens
        self.batcher.add([Row(slot, now_s, now_s + self.timeout_s, arrival.tokens)])

    def _start(self, now_s: float) -> None:
        """What idle runners do: take what may leave, else wait until it may."""
        while self._idle:
            leaves_s = self.batcher.leaves_at(now_s)
            if leaves_s is None:
                return
            if leaves_s > now_s:
                if leaves_s != self._wakes_s:
                    self._at(leaves_s, WAKES)
                    self._wakes_s = leaves_s
                return
            batch = self.batcher.take(now_s, lambda slot: False)
            for row, _ in batch.dropped:
                self._outcome.dropped += 1
                self._end(now_s, row)
            if batch.rows:
                self._run(now_s, batch)

    def _run(self, now_s: float, batch: Batch) -> None:
        """Occupy a runner, and the device in its turn."""
        lengths = [self._lengths[row.slot] for row in batch.rows]
        device, outcome = self.device, self._outcome
        work = device.work(len(lengths), max(lengths))
        host_s = device.fixed_s * device.overlap
        device_s = device.fixed_s - host_s + device.token_s * work
        begins_s = now_s + host_s
        if device.shared:
            begins_s = max(begins_s, self._device_free_s)
            self._device_free_s = begins_s + device_s
        ends_s = begins_s + device_s
        outcome.work += work
        outcome.tokens += sum(lengths)
        outcome.batches.append((len(lengths), ends_s - now_s))
        self._idle -= 1
        self._at(ends_s, DONE, batch)

    def _answer(self, now_s: float, batch: Batch) -> None:
        """A run ended."""
        outcome = self._outcome
        self._idle += 1
        for row in batch.rows:
            outcome.latencies_s.append(now_s - row.arrived_s)
            if now_s > row.deadline_s:
                outcome.late += 1
            elif now_s <= self.seconds:
                outcome.answered += 1
            self._end(now_s, row)

    def _end(self, now_s: float, row: Row) -> None:
        """Its client hears of it."""
        self._in_flight -= 1
        del self._lengths[row.slot]
        self._follow(self.traffic.after_answer(now_s))
