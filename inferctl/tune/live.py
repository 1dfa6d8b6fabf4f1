"""Measuring candidates: servers that are started when they are asked for, and what time is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from inferctl.bench.measurement import Bench, Load, NothingAnswered
from inferctl.bench.several import GUESS, USERS
from inferctl.bench.slo import Judged, Slo, judge, nothing_at
from inferctl.errors import StartError
from inferctl.tune.late import Late
from inferctl.tune.race import Spent
from inferctl.tune.space import Candidate
from inferctl.tune.state import State

# Before the first window of a server, and before that of one that was measured before.
FIRST_WARMUP_S, WARMUP_S = 1.0, 0.5
# A first guess may be off.
SATURATION_S = 1.0
# What a start and what the rest of a measurement take, until some were seen.
USUAL_START_S, USUAL_OVERHEAD_S = 2.0, 1.5
NEWS = 0.3
# The settings of a candidate, served within so many seconds: its URL's bench.
Open = Callable[[Candidate, float], AbstractContextManager[Bench]]
# Told what is being done, in words.
OnStep = Callable[[str], object]


@dataclass(slots=True)
class _Running:
    """A server that is kept; `measured` is whether it had a load before."""

    bench: Bench
    stack: ExitStack
    measured: bool = False


@dataclass(slots=True)
class Live:
    """The prober of real servers, of which two are up at most: the best one and one other.

    `stage` tells measurements apart in the state, `until_s` is when the last must be over, of the
    monotonic clock; `longest_s` is the longest window.
    """

    open: Open
    slo: Slo
    state: State
    until_s: float
    longest_s: float
    on_step: OnStep = lambda text: None
    stage: str = "race"
    pinned: Candidate | None = None
    probes: int = 0
    start_s: float = USUAL_START_S
    overhead_s: float = USUAL_OVERHEAD_S
    _running: dict[Candidate, _Running] = field(default_factory=dict)
    _late: set[Candidate] = field(default_factory=set)

    def __call__(self, candidate: Candidate, rate_per_s: float) -> Judged:
        """As `Prober`; what is in the state is not measured again. Raises BenchError for what is
        the generator's fault."""
        window_s = self.slo.probe_s(rate_per_s, self.longest_s)
        known = self.state.recall(self.stage, candidate, rate_per_s, window_s)
        if known is not None:
            return known
        if candidate in self._late:
            return nothing_at(rate_per_s, window_s)
        cost_s = window_s + self.overhead_s + (0 if candidate in self._running else self.start_s)
        if time.monotonic() + cost_s > self.until_s:
            raise Spent
        self.on_step(f"{rate_per_s:,.4g}/s for {candidate}")
        try:
            judged = self._measure(candidate, rate_per_s, window_s)
        except Late:
            if time.monotonic() >= self.until_s:
                raise Spent from None
            # It is not asked again in this search, and in the next one it may be quicker.
            self._late.add(candidate)
            return nothing_at(rate_per_s, window_s)
        self.probes += 1
        self.state.add(self.stage, candidate, judged)
        return judged

    def left_s(self, most_s: float) -> float:
        """The time that is left, of which something may take so much."""
        return max(0.0, min(most_s, self.until_s - time.monotonic()))

    def pin(self, candidate: Candidate) -> None:
        """Keep its server up while others come and go."""
        self.pinned = candidate

    def saturated_per_s(self, candidate: Candidate) -> float:
        """A first guess of the rate to offer, from a short closed loop.

        Raises BenchError and StartError.
        """
        self.on_step(f"what {USERS} users get of {candidate}")
        bench = self._serve(candidate).bench
        found = bench.measure(
            Load(users=USERS), windows=1, window_s=SATURATION_S, warmup_s=WARMUP_S
        )
        if found.interrupted:
            raise KeyboardInterrupt
        return GUESS * found.achieved_per_s

    def close(self) -> None:
        """End every server."""
        for candidate in list(self._running):
            self._end(candidate)

    def _measure(self, candidate: Candidate, rate_per_s: float, window_s: float) -> Judged:
        try:
            server = self._serve(candidate)
        except Late:
            raise
        except StartError:
            # Settings under which it does not start carry nothing.
            return nothing_at(rate_per_s, window_s)
        begun_s = time.monotonic()
        try:
            found = server.bench.measure(
                Load(rate_per_s=rate_per_s), windows=1, window_s=window_s,
                warmup_s=WARMUP_S if server.measured else FIRST_WARMUP_S,
            )  # fmt: skip
        except NothingAnswered:
            # It may have died, or is drowned. Of what it was asked before it may have died, too.
            self._end(candidate)
            if server.measured:
                return self._measure(candidate, rate_per_s, window_s)
            return nothing_at(rate_per_s, window_s)
        if found.interrupted:
            raise KeyboardInterrupt
        server.measured = True
        taken_s = time.monotonic() - begun_s - window_s
        self.overhead_s += NEWS * (taken_s - self.overhead_s)
        return judge(found, self.slo)

    def _serve(self, candidate: Candidate) -> _Running:
        """Its server, started if it is not up; another one but the pinned makes room."""
        if candidate not in self._running:
            for other in [one for one in self._running if one != self.pinned]:
                self._end(other)
            begun_s = time.monotonic()
            stack = ExitStack()
            opened = self.open(candidate, self.until_s - begun_s)
            self._running[candidate] = _Running(stack.enter_context(opened), stack)
            self.start_s += NEWS * (time.monotonic() - begun_s - self.start_s)
        return self._running[candidate]

    def _end(self, candidate: Candidate) -> None:
        # Who interrupts that must find it still, to close it again.
        self._running[candidate].stack.close()
        del self._running[candidate]
