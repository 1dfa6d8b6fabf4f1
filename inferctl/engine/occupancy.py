"""Whether a batch is alone in the engine."""

from __future__ import annotations

import threading
from collections.abc import Sized


class Occupancy:
    """The batches that run, of all models, and the rows that wait."""

    def __init__(self) -> None:
        self._running = 0
        self._counting = threading.Lock()
        self._queues: list[Sized] = []

    def watch(self, queue: Sized) -> None:
        """Rows that wait in this queue are company."""
        with self._counting:
            self._queues.append(queue)

    def unwatch(self, queue: Sized) -> None:
        """Its model is gone."""
        with self._counting:
            self._queues.remove(queue)

    def enter(self) -> bool:
        """A batch begins to run. Whether it is alone: no other one runs, and no row waits."""
        with self._counting:
            self._running += 1
            return self._running == 1 and not any(map(len, self._queues))

    def leave(self) -> None:
        """A batch that entered has ended."""
        with self._counting:
            self._running -= 1
