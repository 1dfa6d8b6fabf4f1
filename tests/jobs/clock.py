"""The time that a store is told."""

from __future__ import annotations

import time

from inferctl.jobs.owners import boottime_s


class Clock:
    """Two clocks, which stand still until a test has them go on: the wall's can be set too.

    They begin at this machine's time, which other processes on a store have.
    """

    def __init__(self) -> None:
        self._now_s, self._steady_s = time.time(), boottime_s()

    def now(self) -> float:
        return self._now_s

    def steady(self) -> float:
        return self._steady_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
        self._steady_s += seconds

    def step(self, seconds: float) -> None:
        """Somebody set the clock on the wall."""
        self._now_s += seconds
