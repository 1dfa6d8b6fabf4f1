"""What a run costs, and how large a batch should be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

# What a batch costs besides its run: waking a runner and its workers, locks, counting, verdicts.
# Measured as the difference in CPU per request between batches of 1 and 8 of the demo's detector
# under load (docs/log.md); an engine without load and neighbours needs a tenth of it.
DISPATCH_S = 450e-6

# A larger batch must lower the cost per row by more than this to be worth its longer run.
GAIN = 0.03

# Runs this much apart per row are alike: a shared machine measures no better.
NOISE = 0.10

# A size in use is left only for one that is better by this much more, so that noise moves nothing.
HYSTERESIS = 0.02

# Two runs instead of one padded one may cost so much more: mostly rows join the second.
APART = 0.05

# The share of a new measurement in what is expected of the next run.
NEWS = 0.05
# A run that took longer than expected by this factor was disturbed; so much of it counts.
DISTURBED = 2.0
# Runs whose work differs by a larger factor do not tell about each other.
NEAR = 1.5


class CostCurve:
    """Expected seconds of a run by its work: its rows times the tokens each is padded to.

    For a matrix product, where the time goes, rows and tokens are alike. Images are one token
    long. The points are measured at warm-up and follow every run after it; in between them, and
    from the origin, lie straight lines. More work never costs less. `varies` is whether rows
    differ in length.
    """

    def __init__(self, varies: bool = False) -> None:
        self._varies = varies
        self._work: list[int] = []
        self._seconds: list[float] = []

    def measured(self, work: int, seconds: float) -> None:
        """Note a measurement at warm-up. Of several of the same work the fastest counts."""
        place = bisect_left(self._work, work)
        if place < len(self._work) and self._work[place] == work:
            seconds = min(seconds, self._seconds[place])
        else:
            self._work.insert(place, work)
            self._seconds.insert(place, seconds)
        self._set(place, seconds)

    def observe(self, work: int, seconds: float) -> None:
        """A run took so long: move the point nearest to it, or make one where none is near."""
        expected_s = self.seconds(work)
        surprise = min(seconds / expected_s, DISTURBED) - 1 if expected_s else 0.0
        place = self._nearest(work)
        if not 1 / NEAR <= self._work[place] / work <= NEAR:
            self.measured(work, expected_s)
            place = bisect_left(self._work, work)
        self._set(place, self._seconds[place] * (1 + NEWS * surprise))

    def seconds(self, work: float) -> float:
        """Expected seconds of a run. Raises IndexError when nothing was measured."""
        place = bisect_left(self._work, work)
        if place == len(self._work):
            return self._seconds[-1] * work / self._work[-1]
        left, left_s = (self._work[place - 1], self._seconds[place - 1]) if place else (0, 0.0)
        share = (work - left) / (self._work[place] - left)
        return left_s + share * (self._seconds[place] - left_s)

    def saved_s(self, rows: int, longest: int, tokens: int) -> float:
        """Seconds saved by running a row in a batch instead of alone; see `SavedSeconds`.

        What would save less than GAIN of its cost had better wait for a batch that fits it.
        """
        alone_s = self.seconds(tokens) + DISPATCH_S
        batch_s = self.seconds(rows * longest)
        joined_s = self.seconds((rows + 1) * max(longest, tokens))
        return (1 - GAIN) * alone_s - (joined_s - batch_s)

    def next_knee(self, sizes: Sequence[int], tokens: float, current: int) -> int:
        """The best of some sizes for rows of this length, or the current one if as good.

        Texts that cost more together than alone never meet, so that a size that is too large does
        no harm: for them a small gain decides, too small to be seen in single measurements.
        """
        run_s = self.by_rows(sizes, tokens)
        return (
            next_knee(smoothed(run_s), current, 0.0) if self._varies else next_knee(run_s, current)
        )

    def by_rows(self, sizes: Sequence[int], tokens: float) -> dict[int, float]:
        """Seconds of a run of each size, in rows of this length."""
        return {rows: self.seconds(rows * tokens) for rows in sizes}

    def _nearest(self, work: int) -> int:
        place = bisect_left(self._work, work)
        if place == len(self._work):
            return place - 1
        if place and work * work < self._work[place - 1] * self._work[place]:
            return place - 1
        return place

    def _set(self, place: int, seconds: float) -> None:
        """Set a point; neighbours that contradict it are older and give way."""
        points = self._seconds
        points[place] = seconds
        left, right = place - 1, place + 1
        while left >= 0 and points[left] > seconds:
            points[left] = seconds
            left -= 1
        while right < len(points) and points[right] < seconds:
            points[right] = seconds
            right += 1


def costs_per_row(run_s: Mapping[int, float], noise: float = NOISE) -> dict[int, float]:
    """Seconds per row by batch size (rows), from the measured seconds of one run of each size.

    Sizes whose runs are alike per row get the cheapest's cost, so that only dispatching them
    tells them apart. Raises ValueError if empty.
    """
    runs = {rows: seconds / rows for rows, seconds in run_s.items()}
    cheapest = min(runs.values())
    return {
        rows: (cheapest if run <= (1 + noise) * cheapest else run) + DISPATCH_S / rows
        for rows, run in runs.items()
    }


def knee(run_s: Mapping[int, float], noise: float = NOISE, reluctance: float = 0.0) -> int:
    """The smallest batch size beyond which no larger one lowers the cost per row by GAIN.

    `reluctance` is added to what a larger size must gain.
    """
    costs = costs_per_row(run_s, noise + reluctance)
    cheapest = min(costs.values())
    return min(rows for rows, cost in costs.items() if cost * (1 - GAIN - reluctance) <= cheapest)


def next_knee(run_s: Mapping[int, float], current: int, noise: float = NOISE) -> int:
    """The knee, or the current size when it is as good as that but for the noise."""
    smallest, largest = knee(run_s, noise, HYSTERESIS), knee(run_s, noise, -HYSTERESIS)
    return min(max(current, smallest), largest)


def fitting(rows: int, sizes: Sequence[int], seconds: Callable[[int], float]) -> int:
    """How many of so many rows to run now, where batches are padded to one of the ascending sizes.

    Those that would be padded most are left for the next batch, if running them apart costs hardly
    more even when nobody joins them. `seconds` is asked what a run of a size costs.
    """
    place = bisect_left(sizes, rows)
    if not 0 < place < len(sizes) or sizes[place] == rows:
        return rows
    below, above = sizes[place - 1], sizes[place]
    rest = sizes[bisect_left(sizes, rows - below)]
    apart_s = seconds(below) + seconds(rest)
    return below if apart_s <= (1 + APART) * seconds(above) else rows


def smoothed(run_s: Mapping[int, float]) -> dict[int, float]:
    """Seconds of a run of each size on the line that fits them all best.

    What a run costs by itself is its slope over one row's share of it, and that share is small:
    two sizes alone, each off by a few percent, would tell nothing about it.
    """
    shares = [1 / rows for rows in run_s]
    costs = [seconds / rows for rows, seconds in run_s.items()]
    share, cost = fmean(shares), fmean(costs)
    spread = sum((x - share) ** 2 for x in shares)
    slope = sum((x - share) * (y - cost) for x, y in zip(shares, costs, strict=True))
    run_s_alone = max(0.0, slope / spread) if spread else 0.0
    return {rows: rows * (cost + run_s_alone * (1 / rows - share)) for rows in run_s}


def still_falling(run_s: Mapping[int, float]) -> bool:
    """Whether the largest size lowered the cost per row by GAIN: then a larger one may too."""
    costs = costs_per_row(run_s)
    largest = max(costs)
    smaller = [cost for rows, cost in costs.items() if rows < largest]
    return not smaller or costs[largest] < (1 - GAIN) * min(smaller)
