"""One load from its beginning to its end: warm-up, windows until they agree, the last answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inferctl.bench.figures import Requests, begun_between
from inferctl.bench.generator import Generator
from inferctl.bench.measurement import (
    STABLE_WINDOWS,
    Load,
    Measurement,
    NothingAnswered,
    Window,
    agree,
    most_cores,
)
from inferctl.bench.records import Records
from inferctl.bench.target import Target, scrape
from inferctl.bench.windows import (
    BUSY_CORES,
    Boundary,
    busiest,
    client_limit,
    windows_between,
)
from inferctl.errors import BenchError

Stage: TypeAlias = Literal["prepare", "warm-up", "measure", "drain"]
# Called with the stage, the seconds since it began and the seconds that it takes (0: unknown).
OnTick: TypeAlias = Callable[[Stage, float, float], None]

TICK_S = 0.1
# After a window its answers come in still, and the generator writes ten times a second.
SETTLE_S = 0.25
# A shorter warm-up does not tell whether a process is busy.
TELLING_S = 0.5


def ignore(stage: Stage, done_s: float, total_s: float) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long a load goes on: `windows` at most, fewer when they agree before `until_stable`."""

    windows: int
    window_s: float
    warmup_s: float
    until_stable: bool


class Run:
    """A load that a generator, which was entered, offers from now on.

    Raises BenchError when the generator does not start.
    """

    def __init__(
        self, generator: Generator, target: Target, load: Load, course: Course, on_tick: OnTick
    ) -> None:
        self._generator, self._target, self._load = generator, target, load
        self._course, self._on_tick = course, on_tick
        self._records = Records(generator.folder)
        self._boundaries: list[Boundary] = []
        generator.wait_until_ready()
        self._begun_s = generator.begin()

    def is_too_much(self) -> bool:
        """Wait for the end of the warm-up; True when a process was busy in its second half."""
        warmup_s = self._course.warmup_s
        if warmup_s < TELLING_S:
            return False
        self._wait("warm-up", self._begun_s, warmup_s, warmup_s / 2)
        middle = self._boundary(scraped=False)
        self._wait("warm-up", self._begun_s, warmup_s, warmup_s)
        return (busiest(middle, self._boundary(scraped=False)) or 0.0) > BUSY_CORES

    def measure(self) -> Measurement:
        """Watch the windows and end the load. Raises NothingAnswered, and BenchError."""
        interrupted = False
        try:
            self._watch()
            self._on_tick("drain", 0.0, 0.0)
            self._generator.stop()
        except KeyboardInterrupt:
            interrupted = True
            self._close_early()
        return self._measurement(interrupted)

    def _watch(self) -> None:
        """Until enough windows are over or agree."""
        course = self._course
        self._wait("warm-up", self._begun_s, course.warmup_s, course.warmup_s)
        total_s = course.windows * course.window_s
        self._boundaries.append(self._boundary())
        begun_s = self._boundaries[0].at_s
        for number in range(1, course.windows + 1):
            self._wait("measure", begun_s, total_s, number * course.window_s)
            self._boundaries.append(self._boundary())
            if course.until_stable and STABLE_WINDOWS <= number < course.windows:
                self._wait("measure", begun_s, total_s, number * course.window_s + SETTLE_S)
                if agree(self._windows(self._records.read())):
                    return

    def _close_early(self) -> None:
        """Interrupted: what began of the first window is one; then end, without delay if asked."""
        try:
            if len(self._boundaries) == 1:
                self._boundaries.append(self._boundary())
            self._generator.stop()
        except (KeyboardInterrupt, BenchError):
            # The generator is ended with this run; what it wrote so far counts.
            return

    def _measurement(self, interrupted: bool) -> Measurement:
        requests = self._records.read()
        windows = self._windows(requests)
        stable = agree(windows)
        first = len(windows) - STABLE_WINDOWS if stable and self._course.until_stable else 0
        counted = windows[first:]
        if not interrupted:
            check_answered(self._target, counted)
        limited = None
        if counted:
            begun_s, ended_s = self._boundaries[first].at_s, self._boundaries[-1].at_s
            among = begun_between(requests, begun_s, ended_s)
            cores = most_cores(counted)
            limited = client_limit(cores, among, self._generator.crowded())
        return Measurement(self._load, windows, stable, limited, interrupted, first)

    def _windows(self, requests: Requests) -> tuple[Window, ...]:
        name = self._target.model.name
        return windows_between(self._boundaries, requests, self._begun_s, name)

    def _boundary(self, scraped: bool = True) -> Boundary:
        return boundary_of(self._generator, self._target if scraped else None)

    def _wait(self, stage: Stage, begun_s: float, takes_s: float, until_s: float) -> None:
        """Until `until_s` seconds of a stage that takes `takes_s` are over."""
        while (done_s := time.monotonic() - begun_s) < until_s:
            self._generator.check()
            self._on_tick(stage, done_s, takes_s)
            time.sleep(min(TICK_S, until_s - done_s))


def boundary_of(generator: Generator, target: Target | None) -> Boundary:
    """Here. The load goes on while a server is asked: its figures are of a loaded server."""
    at_s, cpu_s = time.monotonic(), generator.cpu_s()
    return Boundary(at_s, None if target is None else scrape(target), cpu_s)


def check_answered(target: Target, windows: Sequence[Window]) -> None:
    """Raise NothingAnswered when no request of any of them was answered."""
    if any(window.client.answered for window in windows):
        return
    failed: Counter[str] = Counter()
    for window in windows:
        failed.update(window.client.errors)
    found = ", ".join(f"{status} x {count}" for status, count in sorted(failed.items()))
    seconds = sum(window.duration_s for window in windows)
    raise NothingAnswered(
        f"no request was answered in {seconds:.3g} s ({found or 'none came back'})",
        where=target.url + target.path,
        hint="send one with curl to see why" if found else "measure longer than a request takes",
    )
