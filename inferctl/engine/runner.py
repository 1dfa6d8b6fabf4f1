"""Runners: take a batch, run it, say what became of each row."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import repeat

from inferctl.arena.ledger import Block
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.batcher import Batch, Row, row_of
from inferctl.engine.model import Model
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.queue import RowQueue
from inferctl.engine.session import OutOfMemory, RunFailed
from inferctl.engine.sizing import Sizing
from inferctl.engine.warmup import Warm
from inferctl.settings import BatchingSettings, RuntimeSettings

Deliver = Callable[[Sequence[int], Verdict], None]

# Handing a batch to another thread and back costs about as much as a run that is shorter than
# this; and for so long the reader may be away from its sockets.
INLINE_RUN_S = 200e-6
# Of runs that short one of so many is measured: measuring takes a tenth of one.
SHORT_RUNS_PER_MEASURED = 8


def runs_inline(
    model: Model, warmed: Warm, batching: BatchingSettings, runtime: RuntimeSettings
) -> bool:
    """Whether the reader had better run the batches itself than wake a thread for each."""
    largest = max(warmed.max_batch_rows, *warmed.sizes, 1)
    return (
        not model.on_cuda
        and batching.max_wait_ms == 0
        and runtime.instances in ("auto", 1)
        and warmed.curve.seconds(largest * model.manifest.max_tokens) < INLINE_RUN_S
    )


class Runner:
    """The queue of one model, and what runs its batches: threads of its own, or `step`'s caller.

    `deliver(slots, verdict)` is called from where the batch runs, at most once per row.
    """

    def __init__(
        self,
        model: Model,
        arena: ModelArena,
        sizing: Sizing,
        place: int,
        block: Block,
        deliver: Deliver,
        occupancy: Occupancy,
    ) -> None:
        self._model = model
        self._arena = arena
        self._sizing = sizing
        self._deliver = deliver
        self._occupancy = occupancy
        self.queue = RowQueue(sizing.batcher, arena.cancelled.data.__getitem__)
        occupancy.watch(self.queue)
        # What a row brings along, slot by slot; numpy's own indices take longer for a few slots.
        self._columns = [
            column.data.__getitem__ for column in (arena.deadline_s, arena.tokens, arena.bulk)
        ]
        self._threads: list[threading.Thread] = []
        self._unmeasured = 0
        # Several threads write this process's cells.
        self._counting = threading.Lock()
        self._batch_rows = block.histogram("inference_batch_size", place)
        self._run_seconds = block.histogram("inferctl_run_seconds", place)
        self._rows = block.cell("inferctl_rows_total", place)
        self._tokens = block.cell("inferctl_tokens_total", place)
        self._padding_tokens = block.cell("inferctl_padding_tokens_total", place)
        self._queue_rows = block.cell("inferctl_queue_rows", place)
        self._dropped = {
            reason: block.cell("inferctl_dropped_total", place, reason)
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
        """Queue rows whose inputs, deadline, length and priority lie in their slots."""
        columns = [map(value_of, slots) for value_of in self._columns]
        fields = zip(slots, repeat(time.monotonic()), *columns, strict=False)
        self.queue.put([*map(row_of, fields)])
        self._queue_rows.set(len(self.queue))

    def discard(self, worker: int) -> None:
        """Forget the waiting rows of a dead worker."""
        self._count_lost(self.queue.remove(self._is_of(worker)))

    def evict(self, worker: int) -> None:
        """Forget the rows of a dead worker; returns when none of them is running."""
        self._count_lost(self.queue.evict(self._is_of(worker)))

    def leave(self) -> None:
        """Stop for ever, and free the model; what waits are rows of dead workers."""
        self.stop()
        self._count_lost(self.queue.evict(lambda slot: True))
        self._occupancy.unwatch(self.queue)
        # Here and now: `step`'s caller, which may be about to return from it, still has the runner.
        del self._model

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

    def step(self) -> bool:
        """Run one batch here, if one waits; whether rows still wait. Only without `start`."""
        if (batch := self.queue.get(wait=False)) is not None:
            self._finish(batch)
        return len(self.queue) > 0

    def _work(self) -> None:
        while (batch := self.queue.get()) is not None:
            self._finish(batch)

    def _finish(self, batch: Batch) -> None:
        """Answer every row of a batch."""
        for row, reason in batch.dropped:
            with self._counting:
                self._dropped[reason].add()
            self._deliver([row.slot], Verdict.EXPIRED if reason == "expired" else Verdict.CANCELLED)
        if batch.rows:
            is_alone = self._occupancy.enter()
            self._run(batch.rows, is_alone)
            self._occupancy.leave()
        self.queue.done(batch)
        self._queue_rows.set(len(self.queue))

    def _run(self, rows: Sequence[Row], is_alone: bool = False) -> int:
        """Run a batch; one that fails is halved until only the rows that poison it fail.

        Returns the rows of the largest part that ran.
        """
        slots = [row.slot for row in rows]
        wide = self._model.wide if is_alone else None
        session = wide.offer() if wide else None
        # What a wide run takes says nothing about what a usual one costs.
        clock = self._model.clock if session is None and self._is_measured() else None
        begun_s, begun_cost_s = time.monotonic(), clock() if clock else 0.0
        try:
            work = self._model.run(self._arena, slots, session)
        except RunFailed as error:
            if len(rows) == 1:
                self._deliver(slots, Verdict.FAILED)
                return 0
            half = len(rows) // 2
            fits = max(self._run(rows[:half]), self._run(rows[half:]))
            if isinstance(error, OutOfMemory) and fits:
                with self._counting:
                    self._sizing.cap(fits)
            return fits
        cost_s = clock() - begun_cost_s if clock else None
        wall_s = time.monotonic() - begun_s
        if wide and session:
            wide.observe(wall_s, self._sizing.expected_s(work))
        self._deliver(slots, Verdict.DONE)
        self._count(rows, work, wall_s, cost_s)
        return len(rows)

    def _is_measured(self) -> bool:
        """Whether the next run is to tell what it costs."""
        self._unmeasured += 1
        is_short = self._sizing.batcher.run_s < INLINE_RUN_S
        if is_short and self._unmeasured < SHORT_RUNS_PER_MEASURED:
            return False
        self._unmeasured = 0
        return True

    def _count(
        self, rows: Sequence[Row], work: int, wall_s: float, cost_s: float | None
    ) -> None:  # fmt: skip
        """Count a batch that ran; `cost_s` is None where it was not measured."""
        with self._counting:
            self._batch_rows.observe(len(rows))
            self._run_seconds.observe(wall_s)
            self._rows.add(len(rows))
            if self._model.has_tokens:
                tokens = sum(row.tokens for row in rows)
                self._tokens.add(tokens)
                self._padding_tokens.add(work - tokens)
            if cost_s is not None:
                self._sizing.observe(len(rows), work, cost_s, wall_s)
