"""Ends runs that take too long, and those that nobody waits for any more.

A run is told to end with its `RunOptions`, which onnxruntime heeds between two nodes. For what
does not end then, or if this whole process stands still, there is the supervisor: it sees in the
ledger since when a run is overdue, and when the watchdog looked last.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from inferctl.arena.ledger import LOOKED_S, OVERDUE_S, Block
from inferctl.engine.instance import Instance
from inferctl.engine.lane import Row
from inferctl.engine.session import new_options
from inferctl.progress import Allowance, wants_cpu

LOOK_S = 0.04

SHORTEST_LIMIT_S, LONGEST_LIMIT_S = 2.0, 10.0
# A run may take so many times as long as expected, and so many times in any case.
TIMES_EXPECTED, TIMES_AT_LEAST = 10, 2
# The first runs of a shape, on a GPU, are known to take tens of seconds.
WARM_UP_LIMIT_S = 120.0

Rows = Sequence[Row]


def limit_s(expected_s: float) -> float:
    """How long a run may take that is expected to take so long."""
    usual_s = min(LONGEST_LIMIT_S, TIMES_EXPECTED * expected_s)
    return max(SHORTEST_LIMIT_S, usual_s, TIMES_AT_LEAST * expected_s)


class Stint:
    """What one thread runs just now, where the watchdog sees it: nothing while `begun_s` is 0.

    `limit_s` is asked how long a run of these rows may take, given `patience`, and `is_wanted`
    whether anybody waits for one of them at a moment; both by the watchdog, and of runs alone that
    it sees twice.
    """

    __slots__ = (
        "_ended_s", "begun_s", "gives_way", "instance", "is_overdue", "is_wanted", "limit_s",
        "options", "patience", "rows",
    )  # fmt: skip

    def __init__(
        self,
        limit_s: Callable[[Rows, float], float],
        is_wanted: Callable[[Rows, float], bool] = lambda rows, now_s: True,
        instance: Instance | None = None,
    ) -> None:
        # What the thread runs batches on; None is whatever the model has first.
        self.instance = instance
        self.limit_s, self.is_wanted = limit_s, is_wanted
        self.rows: Rows = ()
        self.begun_s = self._ended_s = 0.0
        self.is_overdue = False
        # Whether its run is to make room for another one.
        self.gives_way = False
        self.options = new_options()
        # The share of the limit that its runs have, unless they need more.
        self.patience = 1.0

    def begin(self, rows: Rows, begun_s: float) -> None:
        """A run begins, with `options`."""
        if self._ended_s:  # whatever happens to its options was meant for an earlier one
            self._ended_s = 0.0
            self.options = new_options()
            if self.gives_way:  # the former ones were told
                self.options.terminate = True
        self.rows = rows
        self.begun_s = begun_s

    def end(self, begun_s: float, is_overdue: bool) -> None:
        """Tell the run that began then to end."""
        options = self.options  # those of the next run are made as soon as this one is marked
        self._ended_s, self.is_overdue = begun_s, is_overdue
        options.terminate = True

    def give_way(self) -> None:
        """Have the run that goes on, or is about to begin, end for the sake of another one."""
        self.gives_way = True  # first, for `begin` may make new options
        self.options.terminate = True

    def go_on(self) -> None:
        """It gave way, or ended before it could: the next run does not."""
        self.options = new_options()
        self.gives_way = False

    def was_ended(self, begun_s: float) -> bool:
        """Whether the run that began then was told to end, not the one before, an instant late."""
        return self._ended_s == begun_s


class Watched:
    """A stint, and what the watchdog knows of its run."""

    def __init__(self, stint: Stint) -> None:
        self.stint = stint
        self.begun_s = self.overdue_s = 0.0
        self._allowance = Allowance()
        self._is_told = False

    def look(self, now_s: float, cpu_s: float) -> None:
        """Tell a run to end that should. `cpu_s` is what the process used so far."""
        stint, begun_s = self.stint, self.stint.begun_s
        if begun_s != self.begun_s:
            self.begun_s, self.overdue_s, self._is_told = begun_s, 0.0, False
            self._allowance.begin(begun_s, now_s, cpu_s)
            return
        rows = stint.rows
        if not begun_s or self.overdue_s or stint.begun_s != begun_s:
            return
        limit_s = stint.limit_s(rows, stint.patience)
        if self._allowance.is_over(limit_s, now_s, cpu_s, _others_want_cpu):
            self.overdue_s = now_s
        elif self._is_told or stint.is_wanted(rows, now_s):
            return
        if not self._is_told:
            self._is_told = True
            stint.end(begun_s, is_overdue=self.overdue_s > 0)


class Watchdog:
    """Looks at the stints of all threads, from a thread of its own."""

    def __init__(self, block: Block) -> None:
        self._watched: list[Watched] = []
        self._changing = threading.Lock()
        self._says_looked, self._says_overdue = block.state(LOOKED_S), block.state(OVERDUE_S)
        self._timeouts = block.cell("inferctl_engine_timeouts_total")

    def watch(self, stint: Stint) -> None:
        """Its runs are looked at from now on."""
        with self._changing:
            self._watched.append(Watched(stint))

    def unwatch(self, stint: Stint) -> None:
        """It has no runs any more."""
        with self._changing:
            self._watched = [one for one in self._watched if one.stint is not stint]

    def start(self) -> None:
        """Look for as long as this process lives."""
        threading.Thread(target=self._work, name="watchdog", daemon=True).start()

    def _work(self) -> None:
        while True:
            self.look(time.monotonic(), time.process_time())
            time.sleep(LOOK_S)

    def look(self, now_s: float, cpu_s: float) -> None:
        """Look at all once. `cpu_s` is what this process used so far."""
        with self._changing:
            overdue = [one for one in self._watched if self._is_overdue(one, now_s, cpu_s)]
        self._says_overdue.set(min((one.overdue_s for one in overdue), default=0.0))
        self._says_looked.set(now_s)

    def _is_overdue(self, one: Watched, now_s: float, cpu_s: float) -> bool:
        was_overdue_s = one.overdue_s
        one.look(now_s, cpu_s)
        if one.overdue_s and one.overdue_s != was_overdue_s:
            self._timeouts.add()
        return one.overdue_s > 0


def _others_want_cpu() -> bool:
    """Whether a thread of this process wants a core, besides the one that asks."""
    return wants_cpu(os.getpid(), threading.get_native_id())
