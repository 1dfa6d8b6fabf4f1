"""What a batch costs, and how large one should be."""

from __future__ import annotations

from collections.abc import Mapping

# What a batch costs besides its run: waking a runner and its workers, locks, counting, verdicts.
# Measured as the difference in CPU per request between batches of 1 and 8 of the demo's detector
# under load (docs/log.md); an engine without load and neighbours needs a tenth of it.
DISPATCH_S = 450e-6

# A larger batch must lower the cost per row by more than this to be worth its longer run.
GAIN = 0.03

# Runs this much apart per row are alike: a shared machine measures no better.
NOISE = 0.10


def costs_per_row(run_s: Mapping[int, float]) -> dict[int, float]:
    """Seconds per row by batch size (rows), from the measured seconds of one run of each size.

    Sizes whose runs are alike per row get the cheapest's cost, so that only dispatching them
    tells them apart. Raises ValueError if empty.
    """
    runs = {rows: seconds / rows for rows, seconds in run_s.items()}
    cheapest = min(runs.values())
    return {
        rows: (cheapest if run <= (1 + NOISE) * cheapest else run) + DISPATCH_S / rows
        for rows, run in runs.items()
    }


def knee(run_s: Mapping[int, float]) -> int:
    """The smallest batch size beyond which no larger one lowers the cost per row by GAIN."""
    costs = costs_per_row(run_s)
    cheapest = min(costs.values())
    return min(rows for rows, cost in costs.items() if cost * (1 - GAIN) <= cheapest)


def still_falling(run_s: Mapping[int, float]) -> bool:
    """Whether the largest size lowered the cost per row by GAIN: then a larger one may too."""
    costs = costs_per_row(run_s)
    largest = max(costs)
    smaller = [cost for rows, cost in costs.items() if rows < largest]
    return not smaller or costs[largest] < (1 - GAIN) * min(smaller)
