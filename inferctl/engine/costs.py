"""What a batch costs, and how large one should be."""

from __future__ import annotations

from collections.abc import Mapping

# What a batch costs besides its run: waking a runner, counting, sending verdicts, waking the
# workers. Measured: 36 microseconds of it in the engine; the rest is the wake-ups on both sides.
DISPATCH_S = 100e-6

# A larger batch must lower the cost per row by more than this to be worth its longer run.
KNEE_GAIN = 0.05


def knee(run_s: Mapping[int, float], gain: float = KNEE_GAIN) -> int:
    """The smallest batch size beyond which no larger one lowers the cost per row by `gain`.

    `run_s` maps batch sizes (rows) to measured seconds of one run. Raises ValueError if empty.
    """
    cost_per_row = {rows: seconds / rows for rows, seconds in run_s.items()}
    cheapest = min(cost_per_row.values())
    return min(rows for rows, cost in cost_per_row.items() if cost * (1 - gain) <= cheapest)


def still_falling(run_s: Mapping[int, float], gain: float = KNEE_GAIN) -> bool:
    """Whether the last batch size measured was cheaper per row than the one before it."""
    sizes = sorted(run_s)
    if len(sizes) < 2:
        return True
    last, before = sizes[-1], sizes[-2]
    return run_s[last] / last < (1 - gain) * run_s[before] / before
