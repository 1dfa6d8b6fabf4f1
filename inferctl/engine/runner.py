"""Runner threads: take a batch, run it, say what became of each row."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from inferctl.arena.ledger import Block
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.batcher import Batch, Batcher, Row
from inferctl.engine.model import Model
from inferctl.engine.queue import RowQueue
from inferctl.engine.session import RunFailed

Deliver = Callable[[Sequence[int], Verdict], None]


class Runner:
    """The queue and the runner threads of one model.

    `deliver(slots, verdict)` is called from the runner threads, at most once per row.
    """

    def __init__(
        self, model: Model, arena: ModelArena, batcher: Batcher, block: Block, deliver: Deliver
    ) -> None:
        name = model.manifest.name
        self._model = model
        self._arena = arena
        self._deliver = deliver
        cancelled = arena.cancelled
        self.queue = RowQueue(batcher, lambda slot: bool(cancelled[slot]))
        self._threads: list[threading.Thread] = []
        # Several threads write this process's cells.
        self._counting = threading.Lock()
        self._batch_rows = block.histogram("inference_batch_size", name)
        self._run_seconds = block.histogram("inferctl_run_seconds", name)
        self._rows = block.cell("inferctl_rows_total", name)
        self._queue_rows = block.cell("inferctl_queue_rows", name)
        self._dropped = {
            reason: block.cell("inferctl_dropped_total", name, reason)
            for reason in ("expired", "cancelled", "worker_lost")
        }

    def start(self, instances: int) -> None:
        """Start the runner threads."""
        for number in range(instances):
            thread = threading.Thread(
                target=self._work, name=f"{self._model.manifest.name}-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, slots: Sequence[int]) -> None:
        """Queue rows whose inputs, deadline and length lie in their slots."""
        now_s = time.monotonic()
        deadlines_s = self._arena.deadline_s
        self.queue.put([Row(slot, now_s, float(deadlines_s[slot])) for slot in slots])
        self._queue_rows.set(len(self.queue))

    def discard(self, worker: int) -> None:
        """Forget the waiting rows of a dead worker."""
        self._count_lost(self.queue.remove(self._is_of(worker)))

    def evict(self, worker: int) -> None:
        """Forget the rows of a dead worker; returns when none of them is running."""
        self._count_lost(self.queue.evict(self._is_of(worker)))

    def _count_lost(self, rows: Sequence[Row]) -> None:
        with self._counting:
            self._dropped["worker_lost"].add(len(rows))
        self._queue_rows.set(len(self.queue))

    def _is_of(self, worker: int) -> Callable[[int], bool]:
        return lambda slot: self._arena.owner(slot) == worker

    def stop(self) -> None:
        """Let the running batches finish; rows that still wait are not run."""
        self.queue.close()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self.queue.get()) is not None:
            self._drop(batch)
            if batch.rows:
                self._run(batch.rows)
            self.queue.done(batch)
            self._queue_rows.set(len(self.queue))

    def _drop(self, batch: Batch) -> None:
        for row, reason in batch.dropped:
            with self._counting:
                self._dropped[reason].add()
            self._deliver([row.slot], Verdict.EXPIRED if reason == "expired" else Verdict.CANCELLED)

    def _run(self, rows: Sequence[Row]) -> None:
        """Run a batch; one that fails is halved until only the row that poisons it fails."""
        slots = [row.slot for row in rows]
        begun_s = time.monotonic()
        try:
            self._model.run(self._arena, slots)
        except RunFailed:
            if len(rows) == 1:
                self._deliver(slots, Verdict.FAILED)
                return
            half = len(rows) // 2
            self._run(rows[:half])
            self._run(rows[half:])
            return
        took_s = time.monotonic() - begun_s
        with self._counting:
            self._batch_rows.observe(len(rows))
            self._run_seconds.observe(took_s)
            self._rows.add(len(rows))
        self._deliver(slots, Verdict.DONE)
