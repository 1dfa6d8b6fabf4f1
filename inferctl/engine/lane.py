"""The rows that wait at one priority, by their length."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple


class Row(NamedTuple):
    """One row that waits. Times are seconds of one monotonic clock."""

    slot: int
    arrived_s: float
    deadline_s: float
    tokens: int = 1
    bulk: bool = False


# A row of all its fields in a tuple; `Row._make` counts them first.
row_of: Callable[[tuple[object, ...]], Row] = partial(tuple.__new__, Row)
# The moment a row arrived: what makes one the oldest.
arrival: Callable[[Row], float] = attrgetter("arrived_s")
tokens_of: Callable[[Row], int] = attrgetter("tokens")


class Lane:
    """The waiting rows of one priority, by length; rows of one length in order of arrival.

    Without `by_tokens` all rows count as equally long.
    """

    def __init__(self, by_tokens: bool) -> None:
        self.by_length: dict[int, deque[Row]] = {}
        # The length that a row counts as.
        self.length_of: Callable[[Row], int] = tokens_of if by_tokens else lambda _: 1
        self._lengths: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.by_length)

    def __iter__(self) -> Iterator[Row]:
        for rows in self.by_length.values():
            yield from rows

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows to those of their lengths."""
        for length, alike in groupby(rows, self.length_of):
            self._of(length).extend(alike)

    def put_back(self, rows: Iterable[Row]) -> None:
        """Rows that were taken out wait again, where their arrival puts them."""
        for length, alike in groupby(rows, self.length_of):
            back, waiting, older = list(alike), self._of(length), []
            while waiting and waiting[0].arrived_s < back[-1].arrived_s:
                older.append(waiting.popleft())
            in_order = sorted([*back, *older], key=arrival)
            waiting.extendleft(in_order[::-1])

    def _of(self, length: int) -> deque[Row]:
        by_length = self.by_length
        if length not in by_length:
            by_length[length] = deque()
            insort(self._lengths, length)
        return by_length[length]

    def pop(self, length: int, most: int) -> list[Row]:
        """Take out the oldest rows of a length."""
        waiting = self.by_length[length]
        if len(waiting) > most:
            return [waiting.popleft() for _ in range(most)]
        del self.by_length[length]
        self._lengths.remove(length)
        return list(waiting)

    def oldest(self) -> Row:
        """The row that arrived first; raises ValueError when none waits."""
        return min((rows[0] for rows in self.by_length.values()), key=arrival)

    def around(self, length: int) -> list[int]:
        """The waiting lengths next to a length: the nearest that is not above, the next above."""
        place = bisect_right(self._lengths, length)
        return self._lengths[max(0, place - 1) : place + 1]
