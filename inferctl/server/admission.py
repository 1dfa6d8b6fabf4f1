"""The door of one model: who is let in, and who is told when to come back.

A request is let in while its rows have a place, what it holds fits into memory, and it would be
answered in time, by what runs cost. A queue as long as deadlines allow is right for a burst. When
the crowd stays it is not: everybody waits for long, and goes on to when the crowd is gone. So once
somebody had to be refused, the queue is kept short until nobody was for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from inferctl.arena.ledger import Block, Ledger
from inferctl.arena.metric import SHED_REASONS
from inferctl.arena.slots import FreeSlots
from inferctl.refusals import RETRY_HINT, Overloaded, TooLarge
from inferctl.settings import LimitsSettings

Reason = Literal["queue", "deadline", "memory", "fair_share"]

# What is expected to take so long is allowed to take a fifth longer: whoever is let in shall be
# answered, and the estimate is one.
CAUTION = 1.2
# How long the queue may be for so many seconds after somebody was refused: this share of the time
# that a request has, but so many batches for each runner at least.
OVERLOAD_S = 1.0
SHORT_QUEUE_SHARE = 1 / 20
SHORT_QUEUE_BATCHES = 4
# An API key may have so many times the room that it leaves: alone four fifths of the queue; of n
# that want it all, each about an n-th. There always is some room, and who comes seldom finds it.
KEY_SHARE = 4
# Nobody is told to come back sooner or later than this, nor all at the same moment.
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.1, 30.0
JITTER = 0.25

# Refusals leave together, which has those who ask again at once come together too and wakes fewer
# processes; and so many a second at most, a tenth of a core. What was not told in quieter times may
# be told at once.
TELL_EVERY_S = 0.005
TOLD_PER_S, MOST_TOLD = 1000, 200

WHY: dict[Reason, str] = {
    "queue": "the queue is full",
    "deadline": "the queue is too long for the deadline",
    "memory": "too much waits in memory",
    "fair_share": "this key has its share of what may wait",
}


class Shed:
    """Whoever is refused: counted by reason, told when to come back, and in groups.

    All who were refused at the same time would come back at the same time, when those who wait now
    are run. So each is told a moment of its own: a row's time after the one before. Some ask again
    at once, however often they are told: they hear no more than so many refusals a second, which
    cost what the others' answers would.
    """

    def __init__(self, block: Block, place: int, workers: int) -> None:
        self._workers = workers
        self._counts = {
            reason: block.cell("inferctl_shed_total", place, reason) for reason in SHED_REASONS
        }
        self._last_turn_s = 0.0
        self._untold: deque[Callable[[], bool]] = deque()
        self._may_tell = float(MOST_TOLD)
        self._told_s = 0.0

    def count(self, error: Overloaded) -> None:
        """A request was refused."""
        self._counts[error.reason].add()

    def refuse(self, reason: Reason, wait_s: float, row_s: float, now_s: float) -> Overloaded:
        """The error for whoever would be run after `wait_s`, in a queue that drains by `row_s`.

        Who had his share takes no turn: others would be told to wait for whoever floods.
        """
        turn_s = max(now_s + wait_s, self._last_turn_s + row_s * self._workers)
        turn_s = min(turn_s, now_s + LONGEST_RETRY_S)
        if reason != "fair_share":
            self._last_turn_s = turn_s
        after_s = max(turn_s - now_s, SHORTEST_RETRY_S) * random.uniform(1 - JITTER, 1 + JITTER)
        return Overloaded(WHY[reason], hint=RETRY_HINT, reason=reason, retry_after_s=after_s)

    def tell(self, hear: Callable[[], bool]) -> None:
        """Call `hear`, which answers a refused request, soon and in its turn.

        It says whether it did: one that is over meanwhile, its client gone, takes nobody's turn.
        """
        if not self._untold:
            asyncio.get_running_loop().call_later(TELL_EVERY_S, self._tell)
        self._untold.append(hear)

    def _tell(self) -> None:
        now_s = time.monotonic()
        may_tell = min(self._may_tell + TOLD_PER_S * (now_s - self._told_s), MOST_TOLD)
        self._told_s = now_s
        try:
            while self._untold and may_tell >= 1:
                may_tell -= self._untold.popleft()()
        finally:  # a bug in one must not keep all others for ever
            self._may_tell = may_tell
            if self._untold:
                asyncio.get_running_loop().call_later(TELL_EVERY_S, self._tell)


class Admission:
    """Lets a worker's rows of one model in, and bodies that are to come.

    `body_bytes` are of bodies that came, or of what came of them, and that are not decoded yet.
    `row_bytes` is what a row takes in the arena.
    """

    def __init__(
        self, free: FreeSlots, ledger: Ledger, worker: int, place: int, workers: int,
        limits: LimitsSettings, row_bytes: int,
    ) -> None:  # fmt: skip
        self._free = free
        self._workers = workers
        self._row_bytes = row_bytes
        self._memory_bytes = limits.memory_bytes // workers
        rows_in_memory = max(1, limits.memory_bytes // row_bytes)
        self._max_rows = min(limits.max_queue_rows, rows_in_memory)
        self._full: Reason = "queue" if self._max_rows == limits.max_queue_rows else "memory"
        self._fair_share = min(self._max_rows // workers, free.left)
        # Rows before the last one of a full queue, and in its batch.
        self._most_rows = 2 * self._max_rows
        self.body_bytes = 0
        self._short_until_s = 0.0
        own = ledger.blocks[Ledger.FIRST_WORKER + worker]
        self.shed = Shed(own, place, workers)
        blocks = ledger.blocks[Ledger.FIRST_WORKER :]
        self._in_flight = [block.cell("inferctl_in_flight", place) for block in blocks]
        self._bulk_in_flight = [block.cell("inferctl_bulk_in_flight", place) for block in blocks]
        # Its part of what all workers let in together.
        own.cell("inferctl_slots", place).set(self._max_rows / workers)
        engine = ledger.blocks[Ledger.ENGINE]
        self._row_seconds = engine.cell("inferctl_row_seconds", place)
        self._batch_rows = engine.cell("inferctl_max_batch_rows", place)
        self._instances = engine.cell("inferctl_instances", place)

    def admit(
        self, rows: int, deadline_s: float, now_s: float, held: int = 0,
        key_rows: int | None = None, bulk: bool = False,
    ) -> None:  # fmt: skip
        """Reserve places for new rows. Raises Overloaded when they do not fit in, or not in time.

        Raises TooLarge when they and those that their request `held` already are more than the
        queue can ever hold. `key_rows` are those that its API key has besides, where there are
        several keys. If they are not `bulk`, those that are give way to them.
        """
        if held + rows > self._max_rows:
            raise TooLarge(f"more than {self._max_rows} rows", hint="send them in parts")
        left_s = deadline_s - now_s
        if key_rows is not None:
            self._share(rows, key_rows, left_s, now_s, bulk)
        # Even a queue that is full would be run in time: no need to look how full it is.
        if self._row_seconds.get() * self._most_rows > left_s or now_s < self._short_until_s:
            self._refuse_too_late(left_s, now_s, key_rows, bulk)
        if self._free.in_use + rows > self._fair_share:
            self._refuse_too_many(rows, now_s)
        self._free.reserve(rows)

    def expect(
        self, size: int, deadline_s: float, now_s: float,
        key_rows: int | None = None, key_bytes: int | None = None, bulk: bool = False,
    ) -> None:  # fmt: skip
        """A body of so many bytes is to come. Raises Overloaded if there is no room for it now.

        It has no place yet, and takes no memory before it is here: whoever sends slowly, or
        nothing, would keep others out with it.
        """
        self.admit(1, deadline_s, now_s, 0, key_rows, bulk)
        self._free.cancel(1)
        self._check_memory(size, now_s, 0, key_bytes)

    def hold(self, size: int, now_s: float, held: int = 0, key_bytes: int | None = None) -> None:
        """Count so many bytes more of a body that `held` some already. Raises Overloaded.

        `key_bytes` are those that its API key has besides, where there are several keys.
        """
        self._check_memory(size, now_s, held, key_bytes)
        self.body_bytes += size

    def _check_memory(self, size: int, now_s: float, held: int, key_bytes: int | None) -> None:
        """A body that is alone always fits; a key with others leaves room as in the queue."""
        taken = self.body_bytes + self._free.in_use * self._row_bytes
        room = self._memory_bytes - taken - size
        if room < 0 and taken > held:
            raise self.refuse("memory", now_s)
        if key_bytes and key_bytes + held + size > KEY_SHARE * room:
            raise self.refuse("fair_share", now_s)

    def refuse(self, reason: Reason, now_s: float, waiting: int | None = None) -> Overloaded:
        """The error for whoever comes now, and is not let in; so many rows are `waiting`."""
        row_s = self._row_seconds.get()
        waiting = self._rows_in_flight() if waiting is None else waiting
        return self.shed.refuse(reason, waiting * row_s, row_s, now_s)

    def _refuse_too_many(self, rows: int, now_s: float) -> None:
        """More than a fair share is taken while the others leave room."""
        waiting = self._rows_in_flight()
        if rows + waiting > self._max_rows or rows > self._free.left:
            self._short_until_s = now_s + OVERLOAD_S
            raise self.refuse(self._full, now_s, waiting)

    def _share(
        self, rows: int, key_rows: int, left_s: float, now_s: float, bulk: bool
    ) -> None:  # fmt: skip
        """Whether a key that has rows here may have more: it is taken to have as many elsewhere."""
        if not key_rows:
            return
        row_s = CAUTION * self._row_seconds.get()
        waiting = self._rows_in_flight()
        room: float = self._max_rows - waiting
        if self._max_rows * row_s > left_s:
            room = min(room, left_s / row_s - self._rows_before(waiting, bulk))
        if (key_rows + rows) * self._workers > KEY_SHARE * room:
            self._short_until_s = now_s + OVERLOAD_S
            raise self.refuse("fair_share", now_s)

    def _refuse_too_late(
        self, left_s: float, now_s: float, key_rows: int | None, bulk: bool
    ) -> None:  # fmt: skip
        row_s, batch_rows = self._row_seconds.get(), self._batch_rows.get()
        rows = self._rows_before(self._rows_in_flight(), bulk)
        few_rows = SHORT_QUEUE_BATCHES * self._instances.get() * batch_rows
        # Those before it, and those that are run with it.
        is_late = CAUTION * row_s * (rows + min(rows, batch_rows)) > left_s
        # Who has little of what waits is not to suffer for those who have more.
        is_modest = key_rows is not None and key_rows * KEY_SHARE <= self._free.in_use
        is_long = not is_modest and rows > few_rows and rows * row_s > SHORT_QUEUE_SHARE * left_s
        if not is_late and not (is_long and now_s < self._short_until_s):
            return
        if few_rows * row_s < left_s:  # a short queue would have had room: it is in no hurry
            self._short_until_s = now_s + OVERLOAD_S
        raise self.refuse("deadline" if is_late else "queue", now_s, rows)

    def _rows_in_flight(self) -> int:
        """Of all workers."""
        return int(sum([cell.get() for cell in self._in_flight]))

    def _rows_before(self, waiting: int, bulk: bool) -> int:
        """How many of those that are `waiting` are run before one that comes now.

        Others do not wait for bulk rows, but for a batch of them: its run may not be ended.
        """
        if bulk:
            return waiting
        bulk_rows = int(sum([cell.get() for cell in self._bulk_in_flight]))
        return waiting - max(0, bulk_rows - int(self._batch_rows.get()))
