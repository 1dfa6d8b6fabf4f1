"""Loading and unloading models beside those that are served, one after the other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from queue import Empty, SimpleQueue

from inferctl.arena.ledger import Block
from inferctl.engine.session import DeviceLost
from inferctl.errors import InferctlError
from inferctl.heap import LowWater, give_back
from inferctl.reasons import reason_of

# A peak that is over is noticed within this.
LOOK_EVERY_S = 5.0

Job = Callable[[], None]


class Loader:
    """Does its jobs in the order they were begun, in the thread that calls `work`.

    That is the process' main thread: of other threads' heaps glibc does not give back the end.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._memory = LowWater()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def begin(self, job: Job) -> None:
        """Have it done; returns at once."""
        self._jobs.put(job)

    def end(self) -> None:
        """Let `work` return once all is done."""
        self._jobs.put(None)

    def work(self) -> None:
        """Do what there is, and wait for more; meanwhile give memory back after peaks."""
        while True:
            try:
                job = self._jobs.get(timeout=LOOK_EVERY_S)
            except Empty:
                self._memory.look()
                continue
            if job is None:
                return
            job()
            del job  # it holds what it loaded

    def attempt(self, load: Job, place: int) -> str | None:
        """Load a model; why it cannot be, if so. Nothing is left of it then.

        Raises DeviceLost, which is to end the process.
        """
        try:
            load()
        except DeviceLost:
            raise
        # A thread that cannot be started is a RuntimeError.
        except (InferctlError, OSError, MemoryError, RuntimeError) as error:
            reason = reason_of(error)
        else:
            return None
        self.forget(place)
        return reason

    def forget(self, place: int) -> None:
        """A model is gone: what it said of itself, and the memory it had, go too."""
        self._block.reset_gauges_at(place)
        gc.collect()
        give_back()
