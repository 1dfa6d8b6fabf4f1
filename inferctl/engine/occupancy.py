"""Who runs beside whom: whether a batch is alone, and that bulk gives way to interactive rows.

A run of bulk rows beside an interactive one takes its cores, and one that has the only instance
takes its time. So no bulk batch begins on a device where interactive rows run, or where those that
wait may run, of whatever model; and all bulk batches end when such rows come. Excepted are batches
that are due, and rows of models whose runs are short: those have not long to wait, and bulk would
begin and end all the time.
"""

from __future__ import annotations

import threading
from collections import Counter
from math import inf
from typing import Protocol

from inferctl.engine.watchdog import Stint

# Bulk batches are short while interactive rows came within so many seconds.
CALM_AFTER_S = 1.0
# On the CPU a run that is shorter is over before another one would have ended.
SHORT_S = 0.002


class Waiting(Protocol):
    """Where rows wait: a model's queue."""

    def __len__(self) -> int:
        """All of them."""

    @property
    def interactive_rows(self) -> int:
        """Those that are not bulk."""

    def has_urgent(self, device: str) -> bool:
        """Whether one of them may run on that device, and its run is not short."""

    def look_again(self) -> None:
        """Bulk rows may run now, maybe."""


class Occupancy:
    """The batches that run, and the rows that wait, of all models that share cores, or GPUs.

    Runs of less than `short_s` seconds are short.
    """

    def __init__(self, short_s: float = SHORT_S) -> None:
        self.short_s = short_s
        self._counting = threading.Lock()
        self._queues: list[Waiting] = []
        # But for those that were told to end.
        self._running = 0
        # Urgent batches by device, and when the last one began.
        self._urgent = Counter[str]()
        self._urgent_s = -inf
        # What bulk batches run on that can be ended: for who has rows to put, empty means none.
        self.endable: list[Stint] = []
        # Where somebody waits for interactive rows to be done.
        self.held = set[str]()

    def watch(self, queue: Waiting) -> None:
        """Rows that wait in this queue are company."""
        with self._counting:
            self._queues.append(queue)

    def unwatch(self, queue: Waiting) -> None:
        """Its model is gone."""
        with self._counting:
            self._queues.remove(queue)

    def enter(self, device: str, now_s: float, is_urgent: bool) -> bool:
        """A batch of interactive rows begins to run; beside an urgent one no bulk batch begins.

        Whether it may use every core: no other one runs, and no interactive row waits. Bulk rows
        that wait are no company: they wait until it is done.
        """
        with self._counting:
            self._running += 1
            if is_urgent:
                self._urgent[device] += 1
                self._urgent_s = now_s
                if self.endable:
                    self._end_bulk()
            return self._running == 1 and not self._interactive_rows_wait()

    def enter_bulk(self, device: str, stint: Stint | None, is_due: bool) -> bool:
        """A bulk batch is to run there, in a stint that can be ended; whether it may.

        If not, queues are told to `look_again` when it may. One that `is_due` always may, and is
        not ended.
        """
        with self._counting:
            if not is_due and self._is_urgent(device):
                self.held.add(device)
                return False
            self._running += 1
            if stint and not is_due:
                self.endable.append(stint)
            return True

    def is_bulk_alone(self) -> bool:
        """Whether a bulk batch that entered may use every core."""
        with self._counting:
            return self._running == 1 and not any(map(len, self._queues))

    def is_busy(self, now_s: float) -> bool:
        """Whether interactive rows come now and then."""
        return now_s - self._urgent_s < CALM_AFTER_S

    def end_bulk(self) -> None:
        """Interactive rows wait: tell the bulk batches to end that can be."""
        with self._counting:
            self._end_bulk()

    def keep(self, stint: Stint) -> None:
        """The bulk batch that runs there is not ended any more."""
        with self._counting:
            self._forget(stint)

    def leave(self, device: str, is_urgent: bool) -> None:
        """A batch of interactive rows has ended."""
        with self._counting:
            self._running -= 1
            self._urgent[device] -= is_urgent
            # Mostly more of them wait or run: nobody is woken to see that.
            looks = not all(map(self._is_urgent, self.held))
        if looks:
            self.let_look()

    def leave_bulk(self, stint: Stint | None) -> None:
        """A bulk batch has ended, whether it gave way or not."""
        with self._counting:
            if stint:
                self._forget(stint)
            self._running -= 1

    def let_look(self) -> None:
        """Less runs, or waits: those that wait for it are to look whether they may run now."""
        with self._counting:
            self.held.clear()
            queues = [*self._queues]
        for queue in queues:
            queue.look_again()

    def _is_urgent(self, device: str) -> bool:
        return self._urgent[device] > 0 or any(queue.has_urgent(device) for queue in self._queues)

    def _end_bulk(self) -> None:
        """They are no company any more: they end at once."""
        for stint in self.endable:
            stint.give_way()
        self._running -= len(self.endable)
        self.endable.clear()

    def _forget(self, stint: Stint) -> None:
        if stint.gives_way:
            self._running += 1  # it was left out
            stint.go_on()
        elif stint in self.endable:
            self.endable.remove(stint)

    def _interactive_rows_wait(self) -> bool:
        # Mostly nothing waits, and that is quickly seen.
        return any(map(len, self._queues)) and any(
            queue.interactive_rows for queue in self._queues
        )  # fmt: skip
