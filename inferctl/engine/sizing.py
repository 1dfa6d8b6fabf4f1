"""How large the batches of one model may be: the knee of what its runs cost, kept up to date."""

from __future__ import annotations

import sys
from typing import Literal

from inferctl.arena.ledger import Block
from inferctl.engine.batcher import Batcher
from inferctl.engine.costs import NEWS, fitting
from inferctl.engine.warmup import Warm
from inferctl.engine.watchdog import TIMES_AT_LEAST, limit_s
from inferctl.settings import BatchingSettings

# Runs between two looks at the curve: it moves slower than that.
RECONSIDER_RUNS = 64
# So many looks after a batch was too large for the memory a larger one is tried again, and after
# twice as many when that was too large once more.
RAISE_LOOKS = 16
# How long a batch of bulk rows may take while interactive rows come now and then. That much work is
# lost when it gives way to them; where it cannot be ended, on a GPU, they wait for so long.
BULK_RUN_S, UNENDED_BULK_RUN_S = 0.02, 0.002


class Sizing:
    """Sets the batcher's sizes from the runs it is told of. Not locked: the runner does that."""

    def __init__(
        self, name: str, place: int, block: Block, warmed: Warm, batching: BatchingSettings,
        instances: int, max_run_ms: Literal["auto"] | int = "auto",
    ) -> None:  # fmt: skip
        self.batcher = Batcher(
            warmed.max_batch_rows,
            batching.max_wait_ms / 1000,
            max_padding=batching.max_padding,
            saved_s=warmed.curve.saved_s,
            # Texts are chosen by their length: how many there will be is not known before.
            fitting=self._fitting if warmed.padded and warmed.tokens == 1 else None,
        )
        self._name = name
        self._instances = instances
        self._max_run_ms = max_run_ms
        self._curve = warmed.curve
        self._sizes = tuple(warmed.sizes)
        self._padded = tuple(warmed.padded)
        # What the memory holds, 0 while it held all; until it is raised, and what it was before.
        self._cap_rows = self._uncapped_rows = 0
        # What it held at warm-up, 0 where that was all that is wanted.
        self._held_rows = 0
        self._looks_to_raise = RAISE_LOOKS
        self._looks_left = 0
        # The length that rows have on average, with their padding.
        self._usual_tokens = float(warmed.tokens)
        # Wall-clock seconds per expected second: the cores have other things to do as well.
        self._stretch = 1.0
        self._runs_left = RECONSIDER_RUNS
        self._max_batch_rows = block.cell("inferctl_max_batch_rows", place)
        self._row_seconds = block.cell("inferctl_row_seconds", place)
        block.cell("inferctl_instances", place).set(instances)
        self._batch_cap_rows = block.cell("inferctl_batch_cap_rows", place)
        self._publish()
        if warmed.fits and warmed.fits < max(self.batcher.max_batch_rows, self.batcher.trial_rows):
            self._tell(warmed.fits)
            # For good: on a GPU other sizes may not come.
            self._held_rows = warmed.fits
            self._sizes = tuple(size for size in self._sizes if size <= warmed.fits)
            self.batcher.max_batch_rows = min(self.batcher.max_batch_rows, warmed.fits)
            self._publish()

    def limit_s(self, work: int, patience: float = 1.0) -> float:
        """How long a run of so much work may take; with less patience, unless it needs longer."""
        # Many busy models on few cores get less than one each, and none of them hangs.
        expected_s = self._curve.seconds(work) * max(1.0, self._stretch)
        usual_s = limit_s(expected_s) if self._max_run_ms == "auto" else self._max_run_ms / 1000
        return max(patience * usual_s, min(usual_s, TIMES_AT_LEAST * expected_s))

    def expected_s(self, work: int) -> float:
        """What a run of so much work is expected to cost."""
        return self._curve.seconds(work)

    def observe(self, rows: int, work: int, cost_s: float, wall_s: float) -> None:
        """A run of so many rows, and so much work with their padding, was paid and took so long."""
        expected_s = self._curve.seconds(work)
        self._curve.observe(work, cost_s)
        self._usual_tokens += NEWS * (work / rows - self._usual_tokens)
        if expected_s:
            self._stretch += NEWS * (wall_s / expected_s - self._stretch)
        self._runs_left -= 1
        if not self._runs_left:
            self._reconsider()

    def _reconsider(self) -> None:
        """Choose the size anew."""
        self._runs_left = RECONSIDER_RUNS
        if self._cap_rows:
            self._looks_left -= 1
            if not self._looks_left:
                self._raise_cap()
        if sizes := self._allowed_sizes():
            current, tokens = self.batcher.max_batch_rows, self._usual_tokens
            self.batcher.max_batch_rows = self._curve.next_knee(sizes, tokens, current)
        self._publish()

    def _fitting(self, rows: int) -> int:
        return fitting(rows, self._padded, self._curve.seconds)

    def _allowed_sizes(self) -> list[int]:
        """The sizes to choose from; none when it is set by hand."""
        # No tuple: of those whose length is not known before Python keeps 2,000 for later.
        most = self._cap_rows or sys.maxsize
        return [size for size in self._sizes if size <= most]

    def _publish(self) -> None:
        """Tell the batcher and the workers what follows from the size."""
        batcher, rows = self.batcher, self.batcher.max_batch_rows
        allowed = self._allowed_sizes()
        batcher.trial_rows = min((size for size in allowed if size > rows), default=0)
        batcher.run_s = self._curve.seconds(rows * self._usual_tokens)
        batcher.short_rows = self._short_rows(rows)
        self._max_batch_rows.set(rows)
        self._batch_cap_rows.set(self._cap_rows or self._held_rows)
        self._row_seconds.set(batcher.run_s * self._stretch / rows / self._instances)

    def _short_rows(self, rows: int) -> int:
        """How many rows, up to so many, a bulk batch may have while interactive ones come."""
        most_s = UNENDED_BULK_RUN_S if self._padded else BULK_RUN_S
        while rows > 1 and self._curve.seconds(rows * self._usual_tokens) > most_s:
            rows //= 2
        return rows

    def cap(self, rows: int) -> None:
        """The device's memory holds no more rows than this in one run, for now."""
        if rows >= max(self.batcher.max_batch_rows, self.batcher.trial_rows):
            return
        self._tell(rows)
        if not self._cap_rows:
            self._uncapped_rows = self.batcher.max_batch_rows
        self._cap_rows, self._looks_left = rows, self._looks_to_raise
        self._looks_to_raise *= 2
        self.batcher.max_batch_rows = min(self.batcher.max_batch_rows, rows)
        self._publish()

    def _raise_cap(self) -> None:
        """Memory may have become free: allow twice as many rows."""
        self._cap_rows *= 2
        self._looks_left = RAISE_LOOKS
        if not self._sizes:
            self.batcher.max_batch_rows = min(self._uncapped_rows, self._cap_rows)
        if self._cap_rows >= max(self._uncapped_rows, *self._sizes, 0):
            self._cap_rows = 0

    def _tell(self, rows: int) -> None:
        sys.stderr.write(
            f"inferctl: {self._name}: out of memory; batches have {rows} rows at most from now on\n"
        )
