"""The batcher behind a lock: the reader puts rows in, runner threads take batches out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from inferctl.engine.batcher import Batch, Batcher, Row


class RowQueue:
    """A blocking, closable queue of rows for the runners of one model."""

    def __init__(self, batcher: Batcher, is_cancelled: Callable[[int], object]) -> None:
        self._batcher = batcher
        self._is_cancelled = is_cancelled
        self._lock = threading.Lock()
        # Two conditions, so that a wake-up for a runner cannot go to whoever waits in `evict`.
        self._changed = threading.Condition(self._lock)
        self._finished = threading.Condition(self._lock)
        # By batch: a worker may submit a slot again between its verdict and `done`.
        self._running: dict[int, Batch] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._batcher)

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows and wake an idle runner."""
        with self._lock:
            self._batcher.add(rows)
            self._changed.notify()

    def get(self, wait: bool = True) -> Batch | None:
        """The next batch, waiting for one; None when there is none without, or no more.

        The batch's rows, dropped ones too, count as running until `done`.
        """
        with self._lock:
            while not self._closed:
                now_s = time.monotonic()
                leaves_s = self._batcher.leaves_at(now_s)
                if leaves_s is not None and leaves_s <= now_s:
                    batch = self._batcher.take(now_s, self._is_cancelled)
                    self._running[id(batch)] = batch
                    if len(self._batcher):
                        self._changed.notify()
                    return batch
                if not wait:
                    break
                self._changed.wait(None if leaves_s is None else leaves_s - now_s)
            return None

    def done(self, batch: Batch) -> None:
        """Every verdict of the batch is sent; its slots are the workers' again."""
        with self._lock:
            del self._running[id(batch)]
            self._finished.notify_all()

    def remove(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the waiting rows of a dead worker."""
        with self._lock:
            return self._batcher.remove(is_lost)

    def evict(self, is_lost: Callable[[int], bool]) -> list[Row]:
        """Take out the waiting rows of a dead worker, and wait until none of its rows is running.

        After this its slots may be handed to its successor.
        """
        lost = self.remove(is_lost)
        with self._lock:
            self._finished.wait_for(
                lambda: (
                    not any(
                        is_lost(slot) for batch in self._running.values() for slot in _slots(batch)
                    )
                )
            )
        return lost

    def close(self) -> None:
        """Send every runner home; rows that still wait are not run."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()


def _slots(batch: Batch) -> list[int]:
    return [row.slot for row in batch.rows] + [row.slot for row, _ in batch.dropped]
