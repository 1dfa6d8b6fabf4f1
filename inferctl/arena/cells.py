"""One series of one process, as its only writer sees it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """One histogram series of the writing process."""

    def __init__(self, cells: memoryview[float], start: int, buckets: Sequence[float]) -> None:
        self._cells = cells
        self._start = start
        self._buckets = buckets
        self._sum = start + len(buckets) + 1

    def observe(self, value: float) -> None:
        """Count one value, in the metric's unit."""
        self._cells[self._start + bisect_left(self._buckets, value)] += 1
        self._cells[self._sum] += value


class Cell:
    """One counter or gauge series of the writing process."""

    def __init__(self, cells: memoryview[float], index: int) -> None:
        self._cells = cells
        self._index = index

    def add(self, amount: float = 1.0) -> None:
        """Raise a counter, or move a gauge."""
        self._cells[self._index] += amount

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._cells[self._index] = value

    def get(self) -> float:
        """The value of this process alone."""
        return self._cells[self._index]
