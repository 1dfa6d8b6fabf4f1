"""The batcher's rule: rows in, batches out. No tensors, no threads, no clock of its own.

An idle runner takes what waits. While the runners are busy rows pile up, and the next batch is
led by the oldest of them and filled with the rows nearest to it in length, up to
`max_batch_rows`, while no more than `max_padding` of the batch is padding and each row costs less
in the batch than alone. Interactive rows go before bulk rows. `max_wait_s` holds a partial batch
for more rows, but never past the moment at which its most urgent row must start. Rows whose
client left, or whose answer would come after their deadline, are dropped instead of run.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

# A runner that is to start a held batch at a moment wakes up this much later at worst.
WAKE_UP_S = 0.005
# A bulk row that waited so long counts as interactive. Whoever waits for an answer notices a
# second; a job does not, and must end some day however busy the service is.
BULK_AGEING_S = 1.0
# Every so many batches that could be larger than `max_batch_rows`, one is: its cost is news.
TRIAL_EVERY = 32

DropReason = Literal["expired", "cancelled"]


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


@dataclass(slots=True)
class Batch:
    """Rows to run together, the oldest first, and the rows that were dropped on the way.

    `tokens` are the rows' own, `longest` is what each of them is padded to.
    """

    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[Row, DropReason]] = field(default_factory=list)
    tokens: int = 0
    longest: int = 0

    def add(self, rows: Sequence[Row], length: int) -> None:
        """Append rows of one length."""
        if rows:
            self.rows += rows
            self.tokens += len(rows) * length
            self.longest = max(self.longest, length)

    def padding_with(self, tokens: int) -> tuple[int, int]:
        """Tokens of padding, and all tokens, of the batch with another row of this length."""
        whole = (len(self.rows) + 1) * max(self.longest, tokens)
        return whole - self.tokens - tokens, whole


class Lane:
    """The waiting rows of one priority, by length; rows of one length in order of arrival.

    Without `by_tokens` all rows count as equally long.
    """

    def __init__(self, by_tokens: bool, rows: Iterable[Row] = ()) -> None:
        self.by_length: dict[int, deque[Row]] = {}
        # The length that a row counts as.
        self.length_of: Callable[[Row], int] = tokens_of if by_tokens else lambda _: 1
        self._lengths: list[int] = []
        self.add(rows)

    def __bool__(self) -> bool:
        return bool(self.by_length)

    def __iter__(self) -> Iterator[Row]:
        for rows in self.by_length.values():
            yield from rows

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows to those of their lengths."""
        by_length = self.by_length
        for length, alike in groupby(rows, self.length_of):
            if length not in by_length:
                by_length[length] = deque()
                insort(self._lengths, length)
            by_length[length].extend(alike)

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


# Seconds saved by running a row of so many tokens as one more row of a batch of so many rows, each
# padded to so many tokens, instead of alone: saved_s(rows, longest, tokens).
SavedSeconds = Callable[[int, int, int], float]


class Batcher:
    """The waiting rows of one model. `run_s` is how long a run is expected to take.

    `saved_s` says whether rows of different lengths belong together; without it padding alone
    does. `trial_rows`, when larger than `max_batch_rows`, is the size that is tried now and then.
    """

    def __init__(
        self,
        max_batch_rows: int,
        max_wait_s: float = 0.0,
        run_s: float = 0.0,
        max_padding: float = 0.25,
        saved_s: SavedSeconds | None = None,
    ) -> None:
        self.max_batch_rows = max_batch_rows
        self.max_wait_s = max_wait_s
        self.run_s = run_s
        self.max_padding = max_padding
        self._saved_s = saved_s
        self.trial_rows = 0
        # Rows as they come, whatever their padding: who allows all of it wants no look at lengths.
        self._by_tokens = max_padding < 1
        self._interactive, self._bulk = Lane(self._by_tokens), Lane(self._by_tokens)
        self._count = 0
        self._until_trial = TRIAL_EVERY

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows in the order of their arrival."""
        self._count += len(rows)
        if bulk := [row for row in rows if row.bulk]:
            self._bulk.add(bulk)
            rows = [row for row in rows if not row.bulk]
        self._interactive.add(rows)

    def leaves_at(self, now_s: float) -> float | None:
        """When the next batch may leave: `now_s` or earlier is at once, None is nothing waits."""
        if not self._count:
            return None
        if self.max_wait_s <= 0 or self._count >= self.max_batch_rows:
            return now_s
        waiting: list[Row] = [*self._interactive, *self._bulk]
        oldest_s = min(row.arrived_s for row in waiting)
        most_urgent_s = min(row.deadline_s for row in waiting)
        return min(oldest_s + self.max_wait_s, most_urgent_s - self.run_s - WAKE_UP_S)

    def take(self, now_s: float, is_cancelled: Callable[[int], object]) -> Batch:
        """The next batch, at most `max_batch_rows` rows; `is_cancelled` is asked per slot."""
        batch = Batch()
        if self._bulk:
            self._age(now_s)
        limit = self._limit()
        self._fill(batch, self._interactive, limit, now_s, is_cancelled)
        if self._bulk and not self._interactive:
            self._fill(batch, self._bulk, limit, now_s, is_cancelled)
        self._count -= len(batch.rows) + len(batch.dropped)
        return batch

    def _limit(self) -> int:
        if not self.max_batch_rows < self.trial_rows <= self._count:
            return self.max_batch_rows
        self._until_trial -= 1
        if self._until_trial:
            return self.max_batch_rows
        self._until_trial = TRIAL_EVERY
        return self.trial_rows

    def _age(self, now_s: float) -> None:
        """Bulk rows that waited long enough go where their arrival puts them among interactive."""
        latest_s = now_s - BULK_AGEING_S
        if self._bulk.oldest().arrived_s <= latest_s:
            aged = [row for row in self._bulk if row.arrived_s <= latest_s]
            younger = (row for row in self._bulk if row.arrived_s > latest_s)
            self._bulk = Lane(self._by_tokens, younger)
            in_order = sorted([*self._interactive, *aged], key=arrival)
            self._interactive = Lane(self._by_tokens, in_order)

    def _fill(
        self,
        batch: Batch,
        lane: Lane,
        limit: int,
        now_s: float,
        is_cancelled: Callable[[int], object],
    ) -> None:
        """Add rows of a lane while there is room and their padding is allowed."""
        ends_s = now_s + self.run_s
        while lane and (room := limit - len(batch.rows)):
            length = self._next_length(batch, lane)
            if length is None:
                return
            alike: list[Row] = []
            only = length == batch.longest if batch.rows else len(lane.by_length) == 1
            for row in lane.pop(length, room if only else 1):
                if is_cancelled(row.slot):
                    batch.dropped.append((row, "cancelled"))
                elif row.deadline_s <= ends_s and self._is_late(row, now_s):
                    batch.dropped.append((row, "expired"))
                else:
                    alike.append(row)
            batch.add(alike, length)

    def _is_late(self, row: Row, now_s: float) -> bool:
        """Whether its answer would come after its deadline: the device has better to do.

        A row that had less time than a run from the start is tried: the estimate may be wrong.
        """
        ends_s = now_s + self.run_s
        return row.deadline_s <= (ends_s if row.deadline_s > row.arrived_s + self.run_s else now_s)

    def _next_length(self, batch: Batch, lane: Lane) -> int | None:
        """The length of the row to add next: the one that costs the least padding, if allowed."""
        if not batch.rows:
            return lane.length_of(lane.oldest())
        if batch.longest in lane.by_length:
            return batch.longest
        padding = {length: batch.padding_with(length) for length in lane.around(batch.longest)}
        length = min(padding, key=lambda length: padding[length])
        tokens, whole = padding[length]
        if tokens > self.max_padding * whole:
            return None
        if self._saved_s and self._saved_s(len(batch.rows), batch.longest, length) <= 0:
            return None
        return length

    def remove(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the rows whose slot satisfies `is_lost`: their worker died."""
        waiting = [*self._interactive, *self._bulk]
        lost = [row for row in waiting if is_lost(row.slot)]
        kept = [row for row in waiting if not is_lost(row.slot)]
        self._interactive, self._bulk = Lane(self._by_tokens), Lane(self._by_tokens)
        self._interactive.add(row for row in kept if not row.bulk)
        self._bulk.add(row for row in kept if row.bulk)
        self._count -= len(lost)
        return sorted(lost, key=arrival)
