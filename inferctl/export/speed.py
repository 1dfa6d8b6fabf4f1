"""How fast graphs run beside each other: one thread, interleaved rounds, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inferctl.export.runtime import ON_CPU, Model
from inferctl.export.samples import Described, timed_feeds

ROWS = (1, 8)
ONE_THREAD = "one thread"
_ROUNDS = (7, 60)
_BUDGET_S = 3.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Median milliseconds of a run of so many rows, by graph; `on` is what ran them."""

    rows: int
    median_ms: dict[str, float]
    on: str = ONE_THREAD

    def gain(self, name: str, over: str) -> float:
        """How many times faster `name` is than `over`."""
        return self.median_ms[over] / self.median_ms[name]

    def sentence(self) -> str:
        """Medians, and how many times faster the second graph is than the first."""
        (first, before), (second, after) = self.median_ms.items()
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        gain = self.gain(second, first)
        return f"{rows}, {self.on}: {first} {before:.3f} ms, {second} {after:.3f} ms: {gain:.2f} x"


def measure(
    graphs: Mapping[str, Path],
    outputs: tuple[str, ...],
    described: Described,
    providers: Sequence[Any] = ON_CPU,
    on: str = ONE_THREAD,
) -> tuple[Speed, ...]:
    """Time graphs with the same inputs, in batches of `ROWS`; on the CPU by one thread each."""
    models = {name: Model(graph, threads=1, providers=providers) for name, graph in graphs.items()}
    found = []
    for rows in ROWS:
        feeds = timed_feeds(described, rows)
        runs = {
            name: partial(model.run, outputs, feeds, "timing") for name, model in models.items()
        }
        found.append(Speed(rows, interleaved(runs), on))
    return tuple(found)


def interleaved(
    runs: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds of each; what else the machine does meets all of them alike.

    Every round runs each once, in an order that turns: after the first, which is not counted, 7 to
    60 rounds, within 3 seconds if 7 do not take longer.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for run in runs.values():
        run()
    started = clock()
    for number in range(_ROUNDS[1]):
        for name in names if number % 2 else reversed(names):
            before = clock()
            runs[name]()
            taken[name].append((clock() - before) * 1000)
        if number + 1 >= _ROUNDS[0] and clock() - started > _BUDGET_S:
            break
    return {name: statistics.median(times) for name, times in taken.items()}
