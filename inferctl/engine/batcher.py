"""The batcher's rule: rows in, batches out. No tensors, no threads, no clock of its own.

An idle runner takes what waits. While the runners are busy rows pile up, and the next batch is
led by the oldest of them and filled with the rows nearest to it in length, up to
`max_batch_rows`, while no more than `max_padding` of the batch is padding and each row costs less
in the batch than alone. `max_wait_s` holds a partial batch for more rows, but never past the moment
at which its most urgent row must start. Rows whose client left, or whose answer would come after
their deadline, are dropped instead of run.

Interactive rows go before bulk rows, and never share a batch with them, which would take longer. A
batch of bulk rows is nobody's hurry: it may be put back. So that it gets on however busy the
service is, bulk has a share: where none of its batches came to its end for a while, the next one is
due, goes before interactive rows, and is not put back. One at a time: however many rows wait,
interactive ones do not wait behind them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from inferctl.engine.lane import Lane, Row, arrival

# A runner that is to start a held batch at a moment wakes up this much later at worst.
WAKE_UP_S = 0.005
# A batch of bulk rows is due when they have waited so long since the last one. Whoever waits for an
# answer notices a second; a job does not, and must end some day however busy the service is.
BULK_AGEING_S = 1.0
# Where a batch takes long they wait longer: of a service that is always busy they have this share.
BULK_SHARE = 0.1
# Every so many batches that could be larger than `max_batch_rows`, one is: its cost is news.
TRIAL_EVERY = 32

DropReason = Literal["expired", "cancelled"]

# Whose turn it is: that of bulk rows since no other ones wait, or since they are due.
Lead = Literal["interactive", "bulk", "due"]


@dataclass(slots=True)
class Batch:
    """Rows to run together, the oldest first, and the rows that were dropped on the way.

    `tokens` are the rows' own, `longest` is what each of them is padded to. `is_alone` is whether
    it may use every core, `is_urgent` whether bulk gives way to it.
    """

    bulk: bool = False
    is_urgent: bool = False
    is_alone: bool = False
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


# Seconds saved by running a row of so many tokens as one more row of a batch of so many rows, each
# padded to so many tokens, instead of alone: saved_s(rows, longest, tokens).
SavedSeconds = Callable[[int, int, int], float]


class Batcher:
    """The waiting rows of one model. `run_s` is how long a run is expected to take.

    `saved_s` says whether rows of different lengths belong together; without it padding alone
    does. `fitting` says of so many rows how many to run now, where others had better wait for the
    next batch than be padded in this one. `trial_rows`, when larger than `max_batch_rows`, is the
    size that is tried now and then.
    """

    def __init__(
        self,
        max_batch_rows: int,
        max_wait_s: float = 0.0,
        run_s: float = 0.0,
        max_padding: float = 0.25,
        saved_s: SavedSeconds | None = None,
        fitting: Callable[[int], int] | None = None,
    ) -> None:
        self.max_batch_rows = max_batch_rows
        self.max_wait_s = max_wait_s
        self.run_s = run_s
        self.max_padding = max_padding
        self._saved_s = saved_s
        self._fitting = fitting
        self.trial_rows = 0
        # Of bulk rows, while interactive ones come now and then: what was run of them is lost then.
        self.short_rows = max_batch_rows
        # Rows as they come, whatever their padding: who allows all of it wants no look at lengths.
        self._by_tokens = max_padding < 1
        self._interactive, self._bulk = Lane(self._by_tokens), Lane(self._by_tokens)
        # Of those that wait. They are read without a lock while they change, so neither is worked
        # out from the other, and each goes in one step from what it was to what it is.
        self.interactive_rows = self.bulk_rows = 0
        # When a batch of bulk rows was last seen to get on.
        self.bulk_served_s = -inf
        self._until_trial = TRIAL_EVERY

    def __len__(self) -> int:
        return self.interactive_rows + self.bulk_rows

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows in the order of their arrival."""
        if bulk := [row for row in rows if row.bulk]:
            self.bulk_rows += len(bulk)
            self._bulk.add(bulk)
            rows = [row for row in rows if not row.bulk]
        self.interactive_rows += len(rows)
        self._interactive.add(rows)

    def put_back(self, rows: Sequence[Row]) -> None:
        """The rows of a bulk batch that gave way: they go before those that came after them."""
        self.bulk_rows += len(rows)
        self._bulk.put_back(rows)

    def leaves_at(self, now_s: float) -> float | None:
        """When the next batch may leave: `now_s` or earlier is at once, None is nothing waits."""
        if not len(self):
            return None
        if self.max_wait_s <= 0:
            return now_s
        is_bulk = self.lead(now_s) != "interactive"
        if (self.bulk_rows if is_bulk else self.interactive_rows) >= self.max_batch_rows:
            return now_s
        waiting: list[Row] = [*(self._bulk if is_bulk else self._interactive)]
        oldest_s = min(row.arrived_s for row in waiting)
        most_urgent_s = min(row.deadline_s for row in waiting)
        leaves_s = min(oldest_s + self.max_wait_s, most_urgent_s - self.run_s - WAKE_UP_S)
        # A batch that is held for more rows does not hold bulk rows when they are due.
        return leaves_s if is_bulk or not self.bulk_rows else min(leaves_s, self.bulk_due_s())

    def lead(self, now_s: float) -> Lead:
        """Whose batch is the next one. Ask once for each: `run_s` may change at any moment."""
        if not self.bulk_rows:
            return "interactive"
        if self.bulk_due_s() <= now_s:
            return "due"
        return "interactive" if self.interactive_rows else "bulk"

    def bulk_due_s(self) -> float:
        """When the waiting bulk rows have waited for so long that it is their turn."""
        waits_s = max(BULK_AGEING_S, self.run_s / BULK_SHARE)
        return max(self._bulk.oldest().arrived_s, self.bulk_served_s) + waits_s

    def take(
        self,
        now_s: float,
        is_cancelled: Callable[[int], object],
        lead: Lead | None = None,
        is_short: bool = False,
    ) -> Batch:
        """The next batch, at most `max_batch_rows` rows; `is_cancelled` is asked per slot.

        It is that of the `lead` that was asked for. One of bulk rows has no more than `short_rows`
        if it `is_short`, unless it is due: it is the share that they are promised.
        """
        lead = lead or self.lead(now_s)
        batch = Batch(bulk=lead != "interactive")
        lane, waiting = self._interactive, self.interactive_rows
        if batch.bulk:
            lane, waiting = self._bulk, self.bulk_rows
        limit = self._limit(waiting)
        if lead == "due":
            self.bulk_served_s = now_s
        elif batch.bulk and is_short:
            limit = min(limit, self.short_rows)
        if self._fitting and limit == self.max_batch_rows:
            limit = self._fitting(min(limit, waiting))
        self._fill(batch, lane, limit, now_s, is_cancelled)
        gone = len(batch.rows) + len(batch.dropped)
        if batch.bulk:
            self.bulk_rows -= gone
        else:
            self.interactive_rows -= gone
        return batch

    def _limit(self, waiting: int) -> int:
        if not self.max_batch_rows < self.trial_rows <= waiting:
            return self.max_batch_rows
        self._until_trial -= 1
        if self._until_trial:
            return self.max_batch_rows
        self._until_trial = TRIAL_EVERY
        return self.trial_rows

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
        self._interactive.add([row for row in kept if not row.bulk])
        self._bulk.add([row for row in kept if row.bulk])
        lost_bulk = sum(row.bulk for row in lost)
        self.bulk_rows -= lost_bulk
        self.interactive_rows -= len(lost) - lost_bulk
        return sorted(lost, key=arrival)
