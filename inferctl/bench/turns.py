"""Several servers measured by turns, so that a machine that slows down slows down all of them.

Two measurements one after the other differ by what happened to the machine in between, on shared
machines by a tenth and more. A window of each in turn differ by what happens within a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import cycle, zip_longest
from typing import Protocol

from inferctl.bench.gate.regression import MIN_WINDOWS
from inferctl.bench.measurement import Load, Measurement, NothingAnswered, Window, agree

# The more windows the surer, but of a few requests a window says little of a server.
SHORTEST_S, MIN_REQUESTS = 0.25, 30
# Each is tried, to know how long a window has to be: of the time of all a share, and not less.
TRIAL_SHARE, LEAST_TRIAL_S = 0.1, 1.0
# A machine may stand still for a window. This share of the turns may count for nobody.
MOST_LOST = 0.05


class Taker(Protocol):
    """Whoever has turns: a load that rests in between."""

    def take_turn(self, window_s: float, since_s: float) -> Window:
        """Offer it for a window, which is of the time since `since_s`. Raises NothingAnswered, and
        BenchError."""
        ...

    def client_limit(self) -> str | None:
        """Why the generator, not the server, was the limit of its turns, or None."""
        ...


class Entrant(Protocol):
    """A bench whose loads can be offered by turns."""

    def offering(self, load: Load) -> AbstractContextManager[Taker]:
        """Be ready to offer `load`. Raises BenchError."""
        ...


def by_turns(
    entrants: Sequence[Entrant],
    load: Load,
    duration_s: float,
    on_turn: Callable[[int, int], object] = lambda turn, turns: None,
) -> list[Measurement]:
    """Measure each for `duration_s` in all, a window in each turn: their measurements, in order.

    Who comes first changes from turn to turn. A Ctrl-C leaves the turns that every one of them has
    had. Raises NothingAnswered when that is so in the trial or in more than MOST_LOST of the turns,
    and BenchError when a generator fails.
    """
    taken: list[list[Window]] = [[] for _ in entrants]
    takers: list[Taker] = []
    interrupted = False
    with ExitStack() as stack:
        try:
            takers.extend(stack.enter_context(entrant.offering(load)) for entrant in entrants)
            for turn in _turns(takers, duration_s, on_turn):
                for place, window in turn.items():
                    taken[place].append(window)
        except KeyboardInterrupt:
            interrupted = True
        limits = [taker.client_limit() for taker in takers]
    return [
        Measurement(load, tuple(windows), agree(windows), limit, interrupted, by_turns=True)
        for windows, limit in zip_longest(taken, limits)
    ]


def _turns(
    takers: Sequence[Taker], duration_s: float, on_turn: Callable[[int, int], object]
) -> Iterator[dict[int, Window]]:
    """The windows of each turn in which all were answered, by their places."""
    begun_s, lost = time.monotonic(), 0
    trial_s = max(TRIAL_SHARE * duration_s, LEAST_TRIAL_S)
    window_s = _window_s([taker.take_turn(trial_s, begun_s) for taker in takers], duration_s)
    turns, forwards = round(duration_s / window_s), range(len(takers))
    for turn, order in zip(range(turns), cycle((forwards, forwards[::-1])), strict=False):
        on_turn(turn, turns)
        try:
            yield {place: takers[place].take_turn(window_s, begun_s) for place in order}
        except NothingAnswered:
            lost += 1
            if lost > MOST_LOST * turns:
                raise


def _window_s(trials: Sequence[Window], duration_s: float) -> float:
    """As short as it may be of all of them, and one of MIN_WINDOWS at most."""
    slowest_per_s = min(trial.client.throughput_per_s for trial in trials)
    return min(max(MIN_REQUESTS / slowest_per_s, SHORTEST_S), duration_s / MIN_WINDOWS)
