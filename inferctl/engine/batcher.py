"""The batcher's rule: rows in, batches out. No tensors, no threads, no clock of its own.

An idle runner takes what waits. While the runners are busy rows pile up, and the next batch is
what waits, up to `max_batch_rows`. `max_wait_s` holds a partial batch for more rows, but never
past the moment at which its most urgent row must start. Rows whose client left or whose deadline
passed are dropped instead of run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

# A runner that is to start a held batch at a moment wakes up this much later at worst.
WAKE_UP_S = 0.005

DropReason = Literal["expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row that waits. Times are seconds of one monotonic clock."""

    slot: int
    arrived_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to run together, oldest first, and the rows that were dropped on the way."""

    rows: list[Row] = field(default_factory=list)
    dropped: list[tuple[Row, DropReason]] = field(default_factory=list)


class Batcher:
    """The waiting rows of one model. `run_s` is how long a run is expected to take."""

    def __init__(self, max_batch_rows: int, max_wait_s: float = 0.0, run_s: float = 0.0) -> None:
        self.max_batch_rows = max_batch_rows
        self.max_wait_s = max_wait_s
        self.run_s = run_s
        self._waiting: deque[Row] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows in the order of their arrival."""
        self._waiting.extend(rows)

    def leaves_at(self, now_s: float) -> float | None:
        """When the next batch may leave: `now_s` or earlier is at once, None is nothing waits."""
        if not self._waiting:
            return None
        if self.max_wait_s <= 0 or len(self._waiting) >= self.max_batch_rows:
            return now_s
        most_urgent_s = min(row.deadline_s for row in self._waiting) - self.run_s - WAKE_UP_S
        return min(self._waiting[0].arrived_s + self.max_wait_s, most_urgent_s)

    def take(self, now_s: float, is_cancelled: Callable[[int], bool]) -> Batch:
        """The next batch, at most `max_batch_rows` rows; `is_cancelled` is asked per slot."""
        batch = Batch()
        while self._waiting and len(batch.rows) < self.max_batch_rows:
            row = self._waiting.popleft()
            if is_cancelled(row.slot):
                batch.dropped.append((row, "cancelled"))
            elif row.deadline_s <= now_s:
                batch.dropped.append((row, "expired"))
            else:
                batch.rows.append(row)
        return batch

    def remove(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the rows whose slot satisfies `is_lost`: their worker died."""
        lost = [row for row in self._waiting if is_lost(row.slot)]
        self._waiting = deque(row for row in self._waiting if not is_lost(row.slot))
        return lost
