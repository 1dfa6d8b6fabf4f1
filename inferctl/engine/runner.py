"""Runners: the threads that take batches of a model from its queue and have them run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat

from inferctl.arena.ledger import Block
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.batcher import Batch
from inferctl.engine.crew import Crew
from inferctl.engine.execution import INLINE_RUN_S, Deliver, Execution
from inferctl.engine.instance import Instance
from inferctl.engine.lane import Row, row_of
from inferctl.engine.model import Model
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.queue import RowQueue
from inferctl.engine.session import Ended
from inferctl.engine.sizing import Sizing
from inferctl.engine.trial import Trial
from inferctl.engine.warmup import Warm
from inferctl.engine.watchdog import Stint, Watchdog
from inferctl.settings import BatchingSettings, RuntimeSettings


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
        watchdog: Watchdog,
    ) -> None:
        self._name = model.manifest.name
        self._arena = arena
        self._deliver = deliver
        self._occupancy = occupancy
        self._watchdog = watchdog
        self._execution = Execution(model, arena, sizing, place, block, deliver)
        self._stints: list[Stint] = []
        self.queue = RowQueue(sizing.batcher, arena.cancelled.data.__getitem__, occupancy)
        occupancy.watch(self.queue)
        # What a row brings along, slot by slot; numpy's own indices take longer for a few slots.
        self._columns = [
            column.data.__getitem__ for column in (arena.deadline_s, arena.tokens, arena.bulk)
        ]
        self._crew: Crew | None = None
        # `step`'s caller's.
        self._own_stint = self._new_stint()
        # Several threads write this process's cells.
        self._counting = threading.Lock()
        self._queue_rows = block.cell("inferctl_queue_rows", place)
        self._preempted = block.cell("inferctl_preempted_rows_total", place)
        self._dropped = {
            reason: block.cell("inferctl_dropped_total", place, reason)
            for reason in ("expired", "cancelled", "worker_lost")
        }

    def start(self, crew: Crew) -> None:
        """Have the threads run batches, until `stop`."""
        self._crew = crew
        for member in crew.members:
            member.begin(partial(self._work, self._new_stint(member.instance)))

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
        for stint in self._stints:
            self._watchdog.unwatch(stint)
        # Here and now: `step`'s caller, which may be about to return from it, still has the runner.
        self._stints.clear()
        del self._execution, self._own_stint, self._crew

    def _count_lost(self, rows: Sequence[Row]) -> None:
        with self._counting:
            self._dropped["worker_lost"].add(len(rows))
        self._queue_rows.set(len(self.queue))

    def _is_of(self, worker: int) -> Callable[[int], bool]:
        return lambda slot: self._arena.owner(slot) == worker

    def stop(self) -> None:
        """Let the running batches finish; rows that still wait are not run."""
        self.queue.close()
        if self._crew:
            self._crew.end()

    def hold(self, trial: Trial) -> None:
        """Have the rows tried that a dead engine left; before the first is submitted."""
        trial.hold(self._execution.model, self._arena, self._own_stint)

    def step(self) -> bool:
        """Run one batch here, if one waits; whether rows still wait. Only without `start`."""
        if (batch := self.queue.get(wait=False, device="cpu")) is not None:
            self._finish(batch, self._own_stint)
        return len(self.queue) > 0

    def _work(self, stint: Stint) -> None:
        device = stint.instance.device if stint.instance else ""
        # What a GPU was given to do it does, whatever the options of the run say.
        can_end = None if self._execution.model.on_cuda else stint
        while (batch := self.queue.get(device=device, stint=can_end)) is not None:
            self._finish(batch, stint)

    def _new_stint(self, instance: Instance | None = None) -> Stint:
        stint = self._execution.new_stint(instance)
        self._watchdog.watch(stint)
        self._stints.append(stint)
        return stint

    def _finish(self, batch: Batch, stint: Stint) -> None:
        """Answer every row of a batch."""
        for row, reason in batch.dropped:
            with self._counting:
                self._dropped[reason].add()
            self._deliver([row.slot], Verdict.EXPIRED if reason == "expired" else Verdict.CANCELLED)
        error = None
        if batch.rows:
            error = self._execution.run(batch.rows, stint, batch.is_alone)
        gave_way = stint.gives_way and isinstance(error, Ended)
        if gave_way:
            # They wait again, as if never begun: one that expires before its next run was not run.
            self._arena.started_s[[row.slot for row in batch.rows]] = 0.0
            with self._counting:
                self._preempted.add(len(batch.rows))
        elif error:
            self.queue.keep(batch)
            self._execution.recover(batch.rows, error, stint)
        self.queue.done(batch, gave_way)
        self._queue_rows.set(len(self.queue))
