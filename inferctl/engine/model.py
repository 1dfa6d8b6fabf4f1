"""One model in the engine: from slots to a batch, through the session, and back to slots."""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.arena.slots import ModelArena, arena_bytes
from inferctl.bundles.manifest import GRAPH_FILE, Manifest
from inferctl.engine.costs import knee, still_falling
from inferctl.engine.session import CUDA, RunFailed, Session
from inferctl.errors import StartError
from inferctl.settings import BatchingSettings, RuntimeSettings

Array = npt.NDArray[Any]

# Every size is timed in turn while there is time left; its fastest run counts.
MAX_ROUNDS = 15
TIMING_BUDGET_S = 0.12
# Larger sizes than one that runs so long are tried only while the cost per row falls.
LONG_RUN_S = 0.02


class Model:
    """A loaded model. `run` may be called from several threads at once."""

    def __init__(
        self, bundle: Path, manifest: Manifest, runtime: RuntimeSettings, threads: int
    ) -> None:
        self.manifest = manifest
        self.session = Session(bundle / GRAPH_FILE, runtime, threads)
        # A new shape costs a GPU seconds once; on the CPU padding rows only costs time.
        self._pads_rows = self.session.provider == CUDA
        self._warmed: list[int] = []
        self._outputs = [tensor.name for tensor in manifest.outputs]

    def run(self, arena: ModelArena, slots: Sequence[int]) -> None:
        """Run the rows in `slots` as one batch and write their outputs.

        Raises RunFailed when the graph refuses the batch; no output is written then.
        """
        started_s = time.monotonic()
        index = _index(slots)
        rows = self._padded_rows(len(slots))
        tokens = self._padded_tokens(arena.tokens[index])
        inputs = {
            tensor.name: _gather(
                arena.inputs[tensor.name], index, rows, tokens if "tokens" in tensor.shape else 0
            )
            for tensor in self.manifest.inputs
        }
        results = self.session.run(inputs, self._outputs)
        for name, result in zip(self._outputs, results, strict=True):
            if result.shape != (rows, *arena.outputs[name].shape[1:]):
                raise RunFailed(f"output {name} has shape {result.shape}")
        for name, result in zip(self._outputs, results, strict=True):
            arena.outputs[name][index] = result[: len(slots)]
        arena.started_s[index] = started_s
        arena.finished_s[index] = time.monotonic()

    def warm(self, batching: BatchingSettings) -> tuple[int, float]:
        """Run every allowed shape and time it; returns the largest batch and its run's seconds.

        With `max_batch_rows = "auto"` the answer is the knee of the measured cost curve. Raises
        StartError if the model fails.
        """
        wanted = batching.max_batch_rows
        arenas: dict[int, ModelArena] = {}
        run_s: dict[int, float] = {}
        for rows in self._row_buckets(wanted):
            self._warmed.append(rows)
            arenas[rows] = self._warm_size(rows)
            run_s[rows] = self._timed_run(arenas[rows])
            if wanted == "auto" and run_s[rows] > LONG_RUN_S and not still_falling(run_s):
                break
        if wanted != "auto":
            return wanted, run_s[wanted]
        # Sizes take turns, so that what else the machine does at start meets all of them alike.
        spent_s = sum(run_s.values())
        for _ in range(MAX_ROUNDS):
            for rows, arena in arenas.items():
                took_s = self._timed_run(arena)
                run_s[rows] = min(run_s[rows], took_s)
                spent_s += took_s
            if spent_s > TIMING_BUDGET_S:
                break
        largest = knee(run_s)
        return largest, run_s[largest]

    def _row_buckets(self, wanted: int | str) -> list[int]:
        buckets = list(self.manifest.buckets.rows)
        if isinstance(wanted, int):
            buckets = [rows for rows in buckets if rows < wanted] + [wanted]
        return buckets

    def _warm_size(self, rows: int) -> ModelArena:
        """Run a batch of `rows` rows once with each length, the longest last; its arena.

        The rows lie in memory of their own: after a restart the real slots hold waiting requests.
        """
        arena = ModelArena(self.manifest, rows, 1, mmap.mmap(-1, arena_bytes(self.manifest, rows)))
        if "attention_mask" in arena.inputs:
            arena.inputs["attention_mask"][:] = 1
        try:
            for tokens in self.manifest.buckets.tokens or (1,):
                arena.tokens[:] = tokens
                self.run(arena, range(rows))
        except RunFailed as error:
            raise StartError(
                f"{self.manifest.name} fails at {rows} rows during warm-up: {error.what}",
                hint="export the bundle again",
            ) from None
        return arena

    def _timed_run(self, arena: ModelArena) -> float:
        """Seconds of a run of the whole arena.

        On the CPU a run costs the cores it keeps busy, and its CPU time says so however busy the
        machine is: at start it is, because the workers are starting too.
        """
        clock = time.monotonic if self.session.provider == CUDA else time.process_time
        begun_s = clock()
        self.run(arena, range(arena.slots))
        return clock() - begun_s

    def _padded_rows(self, rows: int) -> int:
        if not self._pads_rows:
            return rows
        return self._warmed[bisect_left(self._warmed, rows)]

    def _padded_tokens(self, lengths: npt.NDArray[np.int32]) -> int:
        """Length that every row of the batch is padded to: the smallest bucket that holds all."""
        buckets = self.manifest.buckets.tokens
        if not buckets:
            return 0
        return buckets[bisect_left(buckets, int(lengths.max()))]


def _index(slots: Sequence[int]) -> Array | slice:
    """Slots as an index; ascending neighbours become a slice, which reads without a copy."""
    first, count = slots[0], len(slots)
    if all(slot == first + i for i, slot in enumerate(slots)):
        return slice(first, first + count)
    return np.asarray(slots)


def _gather(column: Array, index: Array | slice, rows: int, tokens: int) -> Array:
    """The batch's rows of one tensor, cut to `tokens` where it has that axis, padded to `rows`."""
    part = column[:, :tokens] if tokens else column
    batch: Array = part[index]
    if len(batch) < rows:
        batch = np.concatenate(
            [batch, np.zeros((rows - len(batch), *batch.shape[1:]), batch.dtype)]
        )
    return np.ascontiguousarray(batch)
