"""Running a batch, and what becomes of its rows when that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock

from inferctl.arena.ledger import Block
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.complaints import Complaints
from inferctl.engine.instance import Instance
from inferctl.engine.lane import Row
from inferctl.engine.model import Model
from inferctl.engine.session import DeviceLost, Ended, OutOfMemory, RunFailed
from inferctl.engine.sizing import Sizing
from inferctl.engine.watchdog import Stint

Deliver = Callable[[Sequence[int], Verdict], None]

# Handing a batch to another thread and back costs about as much as a run that is shorter than
# this; and for so long the reader may be away from its sockets.
INLINE_RUN_S = 200e-6
# Of runs that short one of so many is measured: measuring takes a tenth of one.
SHORT_RUNS_PER_MEASURED = 8
# A batch of which nothing has run yet after so many runs is given up: so many for each halving.
RUNS_PER_HALVING, FEWEST_RUNS = 4, 8
# A row of a batch that took too long has this share of the time alone: others wait behind it.
PATIENCE_ALONE = 0.25


class Execution:
    """Runs the batches of one model, also several at once, and answers each of their rows.

    `deliver(slots, verdict)` is called from where a batch runs, once per row.
    """

    def __init__(
        self,
        model: Model,
        arena: ModelArena,
        sizing: Sizing,
        place: int,
        block: Block,
        deliver: Deliver,
    ) -> None:
        self.model = model
        self._arena = arena
        self._sizing = sizing
        self._deliver = deliver
        self._is_cancelled = arena.cancelled.data.__getitem__
        self._unmeasured = 0
        # Several threads write this process's cells.
        self._counting = Lock()
        self._batch_rows = block.histogram("inference_batch_size", place)
        self._run_seconds = block.histogram("inferctl_run_seconds", place)
        self._rows = block.cell("inferctl_rows_total", place)
        self._tokens = block.cell("inferctl_tokens_total", place)
        self._padding_tokens = block.cell("inferctl_padding_tokens_total", place)
        self._padding_rows = block.cell("inferctl_padding_rows_total", place)
        self._bisects = block.cell("inferctl_bisects_total", place)
        self._poisoned = block.cell("inferctl_poisoned_rows_total", place)
        self._complaints = Complaints(model.manifest.name)

    def new_stint(self, instance: Instance | None = None) -> Stint:
        """What a thread needs to run batches on an instance; one each."""
        return Stint(self._limit_s, self._is_wanted, instance)

    def _limit_s(self, rows: Sequence[Row], patience: float) -> float:
        with self._counting:
            return self._sizing.limit_s(len(rows) * max(row.tokens for row in rows), patience)

    def _is_wanted(self, rows: Sequence[Row], now_s: float) -> bool:
        return any(row.deadline_s > now_s and not self._is_cancelled(row.slot) for row in rows)

    def run(self, rows: Sequence[Row], stint: Stint, is_alone: bool = False) -> RunFailed | None:
        """Run a batch and answer its rows; one that `is_alone` in the engine may use every core.

        The error when its rows are still to be answered: by `recover`, unless it is Ended and the
        stint gives way. Raises DeviceLost, which is to end the process; its successor tries these
        rows alone.
        """
        slots = [row.slot for row in rows]
        wide = self.model.wide if is_alone else None
        wide_instance = wide.offer() if wide else None
        # What a wide run takes says nothing about what a usual one costs.
        clock = self.model.clock if wide_instance is None and self._is_measured() else None
        begun_s, begun_cost_s = time.monotonic(), clock() if clock else 0.0
        stint.begin(rows, begun_s)
        try:
            work = self.model.run(
                self._arena, slots, wide_instance or stint.instance, stint.options
            )
        except DeviceLost:
            raise
        except RunFailed as error:
            stint.begun_s = 0.0
            if not isinstance(error, Ended) or stint.gives_way:
                return error
            if not stint.was_ended(begun_s):
                return self.run(rows, stint)  # the run before it was meant
            if stint.is_overdue:
                return error
            self._deliver(slots, Verdict.EXPIRED)  # nobody waits for them
            return None
        stint.begun_s = 0.0
        cost_s = clock() - begun_cost_s if clock else None
        wall_s = time.monotonic() - begun_s
        if wide and wide_instance:
            wide.observe(wall_s, self._sizing.expected_s(work))
        self._deliver(slots, Verdict.DONE)
        self._count(rows, work, wall_s, cost_s)
        return None

    def recover(self, rows: Sequence[Row], error: RunFailed, stint: Stint) -> None:
        """Answer the rows of a batch that failed."""
        if isinstance(error, Ended):
            self._run_each(rows, error, stint)
        else:
            self._bisect(rows, error, stint)

    def _bisect(self, rows: Sequence[Row], error: RunFailed, stint: Stint) -> None:
        """Halve a batch that failed until only the rows fail that poison it.

        When nothing at all runs it is the model's fault, or the device's, and not worth many runs.
        """
        if len(rows) > 1:
            with self._counting:
                self._bisects.add()
        most_runs = max(FEWEST_RUNS, RUNS_PER_HALVING * (len(rows) - 1).bit_length() + 3)
        parts: list[tuple[Sequence[Row], RunFailed | None]] = [(rows, error)]
        runs, fits, is_too_large = 1, 0, isinstance(error, OutOfMemory)
        while parts:
            part, failure = parts.pop()
            if failure is None and (fits or runs < most_runs):
                failure, runs = self.run(part, stint), runs + 1
                if failure is None:
                    fits = max(fits, len(part))
                    continue
            if isinstance(failure, Ended):
                self._run_each(part, failure, stint)
            elif len(part) == 1 or failure is None:
                # A row that alone is too large says nothing about how many others fit.
                is_too_large = is_too_large and not isinstance(failure, OutOfMemory)
                self._fail(part, failure or error)
            else:
                half = len(part) // 2
                parts += [(part[half:], None), (part[:half], None)]
        if is_too_large and fits:
            with self._counting:
                self._sizing.cap(fits)

    def _run_each(self, rows: Sequence[Row], error: RunFailed, stint: Stint) -> None:
        """A run took too long: run each of its rows alone, but for those that are late already.

        Halving it would wait for its culprit once for each half that has it.
        """
        if len(rows) == 1:
            self._fail(rows, error)
            return
        stint.patience = PATIENCE_ALONE
        for row in rows:
            if not self._is_wanted([row], time.monotonic()):
                self._deliver([row.slot], Verdict.EXPIRED)
            elif failure := self.run([row], stint):
                self._fail([row], failure)
        stint.patience = 1.0

    def _fail(self, rows: Sequence[Row], error: RunFailed) -> None:
        """Rows have no answer."""
        with self._counting:
            self._poisoned.add(len(rows))
            self._complaints.hear(len(rows), error)
        self._deliver([row.slot for row in rows], verdict_of(error))

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
            if self.model.has_tokens:
                tokens = sum(row.tokens for row in rows)
                self._tokens.add(tokens)
                self._padding_tokens.add(work - tokens)
            elif work > len(rows):
                self._padding_rows.add(work - len(rows))
            if cost_s is not None:
                self._sizing.observe(len(rows), work, cost_s, wall_s)


def verdict_of(error: RunFailed) -> Verdict:
    """What became of a row that failed alone."""
    if isinstance(error, OutOfMemory):
        return Verdict.OUT_OF_MEMORY
    return Verdict.TIMED_OUT if isinstance(error, Ended) else Verdict.FAILED
