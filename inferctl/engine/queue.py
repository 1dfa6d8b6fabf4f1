"""The batcher behind a lock: the reader puts rows in, runner threads take batches out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from inferctl.engine.batcher import Batch, Batcher, Lead
from inferctl.engine.lane import Row
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.watchdog import Stint

# A batch that runs, and where; a bulk batch has the stint in which it can be ended, if it can.
Turn = tuple[Batch, str, Stint | None]


class RowQueue:
    """A blocking, closable queue of rows for the runners of one model.

    `occupancy` says what runs besides; the batches enter it when they are taken, and leave it when
    they are done.
    """

    def __init__(
        self, batcher: Batcher, is_cancelled: Callable[[int], object], occupancy: Occupancy
    ) -> None:
        self._batcher = batcher
        self._is_cancelled = is_cancelled
        self._occupancy = occupancy
        self._lock = threading.Lock()
        # Two conditions, so that a wake-up for a runner cannot go to whoever waits in `evict`.
        self._changed = threading.Condition(self._lock)
        self._finished = threading.Condition(self._lock)
        # By batch: a worker may submit a slot again between its verdict and `done`.
        self._running: dict[int, Turn] = {}
        # By device: the batches that run there, and the runners that wait.
        self._busy, self._waiting = Counter[str](), Counter[str]()
        # Where runners took batches, or wanted to; as long as none did it may be anywhere.
        self._devices = set[str]()
        self._closed = False

    def __len__(self) -> int:
        return len(self._batcher)

    @property
    def interactive_rows(self) -> int:
        """Of those that wait."""
        return self._batcher.interactive_rows

    def has_urgent(self, device: str) -> bool:
        """Whether bulk gives way there to some of them."""
        return self._are_urgent and (device in self._devices or not self._devices)

    @property
    def _are_urgent(self) -> bool:
        return self._batcher.interactive_rows > 0 and self._is_long

    @property
    def _is_long(self) -> bool:
        return self._batcher.run_s >= self._occupancy.short_s

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows and wake an idle runner; bulk batches that run give way to interactive rows."""
        with self._lock:
            self._batcher.add(rows)
            self._changed.notify()
        if self._occupancy.endable and self._are_urgent:
            self._occupancy.end_bulk()

    def look_again(self) -> None:
        """Bulk rows that were not let run may run now."""
        with self._lock:
            if self._batcher.bulk_rows:
                self._changed.notify_all()

    def get(
        self, wait: bool = True, device: str = "", stint: Stint | None = None
    ) -> Batch | None:  # fmt: skip
        """The next batch, waiting for one; None when there is none without, or no more.

        It is left to who waits on a device that runs fewer batches than this one. The batch's rows,
        dropped ones too, count as running until `done`. A bulk batch gives way by the stint in
        which it is run; without one it does not, and without waiting it is not kept waiting.
        """
        with self._lock:
            self._devices.add(device)
            while not self._closed:
                now_s = time.monotonic()
                leaves_s = self._batcher.leaves_at(now_s)
                if leaves_s is not None and leaves_s <= now_s:
                    if self._has_freer(device):
                        self._changed.notify()  # in their order, until it is one of those
                        leaves_s = None
                    elif (lead := self._batcher.lead(now_s)) == "interactive":
                        return self._take(now_s, lead, device)
                    elif self._enter_bulk(lead == "due" or not wait, device, stint):
                        return self._take(now_s, lead, device, stint)
                    else:
                        leaves_s = self._batcher.bulk_due_s()
                if not wait:
                    break
                self._waiting[device] += 1
                self._changed.wait(None if leaves_s is None else leaves_s - now_s)
                self._waiting[device] -= 1
            return None

    def _has_freer(self, device: str) -> bool:
        busy = self._busy[device]
        return any(count and self._busy[one] < busy for one, count in self._waiting.items())

    def _enter_bulk(self, is_due: bool, device: str, stint: Stint | None) -> bool:
        return self._occupancy.enter_bulk(device, stint if self._is_long else None, is_due)

    def _take(
        self, now_s: float, lead: Lead, device: str, stint: Stint | None = None
    ) -> Batch:  # fmt: skip
        is_busy = self._occupancy.is_busy(now_s)
        batch = self._batcher.take(now_s, self._is_cancelled, lead, is_short=is_busy)
        if not batch.bulk:
            batch.is_urgent = self._is_long
            batch.is_alone = self._occupancy.enter(device, now_s, batch.is_urgent)
        elif batch.rows:
            batch.is_alone = self._occupancy.is_bulk_alone()
        self._running[id(batch)] = batch, device, stint
        self._busy[device] += 1
        if len(self._batcher):
            self._changed.notify()
        return batch

    def keep(self, batch: Batch) -> None:
        """It does not give way any more."""
        _, _, stint = self._running[id(batch)]
        if stint:
            self._occupancy.keep(stint)

    def done(self, batch: Batch, gave_way: bool = False) -> None:
        """Every verdict of the batch is sent; its slots are the workers' again.

        Of one that gave way only the dropped rows have theirs: the others wait again.
        """
        with self._lock:
            _, device, stint = self._running.pop(id(batch))
            self._busy[device] -= 1
            if gave_way:
                self._batcher.put_back(batch.rows)
            elif batch.bulk:
                self._batcher.bulk_served_s = time.monotonic()
            self._finished.notify_all()
        if batch.bulk:
            self._occupancy.leave_bulk(stint)
        else:
            self._occupancy.leave(device, batch.is_urgent)

    def remove(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the waiting rows of a dead worker."""
        with self._lock:
            lost = self._batcher.remove(is_lost)
        if self._occupancy.held:
            self._occupancy.let_look()
        return lost

    def evict(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the waiting rows of a dead worker, and wait until none of its rows is running.

        After this its slots may be handed to its successor.
        """
        lost = self.remove(is_lost)
        with self._lock:
            self._finished.wait_for(
                lambda: (
                    not any(
                        is_lost(slot)
                        for batch, _, _ in self._running.values()
                        for slot in _slots(batch)
                    )
                )
            )
            # What gave way meanwhile waits again.
            return lost + self._batcher.remove(is_lost)

    def close(self) -> None:
        """Send every runner home; rows that still wait are not run."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()


def _slots(batch: Batch) -> list[int]:
    return [row.slot for row in batch.rows] + [row.slot for row, _ in batch.dropped]
