"""When requests of open loops are to be sent, whatever became of those before. Knows no time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator


class Clocks:
    """`due_s` is when the next request of any of them is to be sent; infinite while none is.

    Times are seconds of the monotonic clock.
    """

    __slots__ = ("_heap", "_numbers", "_stands_from_s", "_stood_s", "due_s")

    def __init__(self) -> None:
        self.due_s = math.inf
        self._heap: list[tuple[float, int, Iterator[float]]] = []
        self._numbers = itertools.count()
        # For how long they stood still, which is not in the heap's times, and since when they do.
        self._stood_s = 0.0
        self._stands_from_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, times: Iterator[float], begin_s: float) -> int:
        """One more, whose `times` are seconds after `begin_s`; its number."""
        number = next(self._numbers)
        begin_s -= self._stood_s
        ahead = (begin_s + time_s for time_s in times)
        first_s = next(ahead, None)
        if first_s is not None:
            heapq.heappush(self._heap, (first_s, number, ahead))
        self._look()
        return number

    def remove(self, number: int, now_s: float) -> list[float]:
        """Take one away; the times of it that were due by now."""
        until_s = now_s if self._stands_from_s is None else self._stands_from_s
        removed = [clock for clock in self._heap if clock[1] == number]
        self._heap = [clock for clock in self._heap if clock[1] != number]
        heapq.heapify(self._heap)
        self._look()
        until_s -= self._stood_s
        return [
            time_s + self._stood_s
            for due_s, _, ahead in removed
            for time_s in itertools.takewhile(
                lambda at_s: at_s <= until_s, itertools.chain((due_s,), ahead)
            )
        ]

    def take(self) -> float:
        """The time that is due first; its clock goes on to the next."""
        due_s, number, ahead = self._heap[0]
        following_s = next(ahead, None)
        if following_s is None:
            heapq.heappop(self._heap)
        else:
            heapq.heapreplace(self._heap, (following_s, number, ahead))
        self._look()
        return due_s + self._stood_s

    def stand(self, now_s: float) -> None:
        """Stand still from now on."""
        self._stands_from_s = now_s
        self._look()

    def go_on(self, now_s: float) -> None:
        """Go on where they stood: all that is still to come is as much later."""
        if self._stands_from_s is not None:
            self._stood_s += now_s - self._stands_from_s
            self._stands_from_s = None
            self._look()

    def _look(self) -> None:
        if self._heap and self._stands_from_s is None:
            self.due_s = self._heap[0][0] + self._stood_s
        else:
            self.due_s = math.inf
