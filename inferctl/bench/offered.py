"""A load that rests until its turn comes: see `turns`."""

from __future__ import annotations

import time
from statistics import fmean

import numpy as np

from inferctl.bench.course import boundary_of, check_answered
from inferctl.bench.figures import Requests, begun_between
from inferctl.bench.generator import Generator
from inferctl.bench.measurement import Window
from inferctl.bench.records import Records
from inferctl.bench.target import Target
from inferctl.bench.windows import client_limit, windows_between

# Connections are opened in it; what a server forgets in a rest is there after a few requests.
WARMUP_S = 0.1


class Offered:
    """What a generator, which was entered, offers in turns. Raises BenchError when that fails."""

    def __init__(self, generator: Generator, target: Target) -> None:
        self._generator, self._target = generator, target
        self._records = Records(generator.folder)
        # Of the turns so far: what the generator used, and the requests that were to begin.
        self._cores: list[float] = []
        self._among: list[Requests] = []
        generator.wait_until_ready()
        generator.begin()
        generator.rest()

    def take_turn(self, window_s: float, since_s: float) -> Window:
        """Offer the load for a warm-up and a window, and return when all is answered.

        `since_s` is when the first turn of all began, of the monotonic clock. Raises
        NothingAnswered, and BenchError when the generator fails.
        """
        self._generator.go_on()
        time.sleep(WARMUP_S)
        first = boundary_of(self._generator, self._target)
        time.sleep(max(first.at_s + window_s - time.monotonic(), 0.0))
        last = boundary_of(self._generator, self._target)
        self._generator.rest()
        requests = self._records.read()
        (window,) = windows_between((first, last), requests, since_s, self._target.model.name)
        check_answered(self._target, [window])
        if window.generator_cpu_cores is not None:
            self._cores.append(window.generator_cpu_cores)
        self._among.append(begun_between(requests, first.at_s, last.at_s))
        return window

    def client_limit(self) -> str | None:
        """Why the generator was the limit of all turns together; None if it was not. Of one alone
        the latest request would say it, and the clock's ticks."""
        if not self._among:
            return None
        cores = fmean(self._cores) if self._cores else None
        return client_limit(cores, np.concatenate(self._among), self._generator.crowded())
