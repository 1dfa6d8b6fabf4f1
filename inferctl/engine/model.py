"""One model in the engine: from slots to a batch, through the session, and back to slots."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.arena.slots import ModelArena
from inferctl.bundles.manifest import GRAPH_FILE, Manifest
from inferctl.engine.session import CUDA, OutOfMemory, RunFailed, Session
from inferctl.engine.watchdog import WARM_UP_LIMIT_S, Stint
from inferctl.engine.wide import Wide
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings

Array = npt.NDArray[Any]


class Model:
    """A loaded model. `run` may be called from several threads at once.

    `warmed` are the batch sizes that ran at warm-up; `rehearsal` is where those runs are watched.
    `wide`, where there is one, is a second session that uses every core for one run. `clock` is
    what a run costs by.
    """

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        runtime: RuntimeSettings,
        threads: int,
        rehearsal: Stint | None = None,
    ) -> None:
        """Load it. Raises StartError."""
        self.manifest = manifest
        self.graph = bundle / GRAPH_FILE
        self.session = Session(self.graph, runtime, threads)
        self.wide: Wide | None = None
        self.warmed: list[int] = []
        self.rehearsal = rehearsal or Stint(lambda rows, patience: WARM_UP_LIMIT_S)
        self.on_cuda = self.session.provider == CUDA
        # One thread's CPU time says what a run costs however busy the machine is.
        self.clock: Callable[[], float] = (
            time.thread_time if threads == 1 and not self.on_cuda else time.monotonic
        )
        self.has_tokens = bool(manifest.buckets.tokens)
        self._inputs = [(tensor.name, "tokens" in tensor.shape) for tensor in manifest.inputs]
        self._check_dtypes()
        shapes = {tensor.name: tensor.row_shape(manifest.max_tokens) for tensor in manifest.outputs}
        self._outputs, self._output_shapes = list(shapes), list(shapes.values())

    def _check_dtypes(self) -> None:
        """Raise StartError for an output whose numbers would be cut on their way into a slot."""
        for tensor in self.manifest.outputs:
            found = self.session.output_dtypes.get(tensor.name, tensor.dtype)
            if found != tensor.dtype:
                raise StartError(
                    f"output {tensor.name} is {found or 'no tensor of numbers'} in the graph, "
                    f"and {tensor.dtype} in the manifest",
                    where=str(self.graph),
                    hint="export the bundle again",
                )

    def run(
        self,
        arena: ModelArena,
        slots: Sequence[int],
        session: Session | None = None,
        options: Any = None,
    ) -> int:
        """Run the rows in `slots` as one batch and write their outputs.

        Returns the work that was done: rows times tokens, with their padding. Raises RunFailed
        when the graph refuses the batch, or `options` end it; no output is written then.
        """
        index, count = _index(slots), len(slots)
        # From here on, until they are finished, these rows are what killed this process if it dies.
        arena.started_s[index] = time.monotonic()
        try:
            rows = self._padded_rows(count)
            tokens = self._padded_tokens(arena.tokens[index]) if self.has_tokens else 1
            inputs = {
                name: _gather(arena.inputs[name], index, rows, tokens if varies else 0)
                for name, varies in self._inputs
            }
            results = (session or self.session).run(inputs, self._outputs, options)
            for name, shape, result in zip(
                self._outputs, self._output_shapes, results, strict=True
            ):
                if result.shape != (rows, *shape):  # a row might get another one's answer
                    raise RunFailed(f"output {name} has shape {result.shape}")
        except RunFailed:
            arena.finished_s[index] = time.monotonic()
            raise
        except MemoryError:
            arena.finished_s[index] = time.monotonic()
            raise OutOfMemory("no memory for the batch") from None
        for name, result in zip(self._outputs, results, strict=True):
            arena.outputs[name][index] = result[:count]
        arena.batch_rows[index] = count
        arena.finished_s[index] = time.monotonic()
        return rows * tokens

    def _padded_rows(self, rows: int) -> int:
        """A new shape costs a GPU seconds once; on the CPU padding only costs time."""
        return self.warmed[bisect_left(self.warmed, rows)] if self.on_cuda else rows

    def _padded_tokens(self, lengths: npt.NDArray[np.int32]) -> int:
        """Length that every row of the batch is padded to: the longest's, on a GPU its bucket."""
        longest = max(1, int(lengths.max()))
        buckets = self.manifest.buckets.tokens
        return buckets[bisect_left(buckets, longest)] if self.on_cuda else longest


def _index(slots: Sequence[int]) -> Array | slice:
    """Slots as an index; ascending neighbours become a slice, which reads without a copy."""
    first, count = slots[0], len(slots)
    if slots[-1] - first == count - 1 and list(slots) == list(range(first, first + count)):
        return slice(first, first + count)
    return np.array(slots)


def _gather(column: Array, index: Array | slice, rows: int, tokens: int) -> Array:
    """The batch's rows of one tensor, cut to `tokens` where it has that axis, padded to `rows`."""
    batch: Array
    if tokens:
        batch = np.ascontiguousarray(column[:, :tokens][index])
    elif isinstance(index, slice):
        batch = column[index]
    else:
        batch = column.take(index, axis=0)  # the quickest, but not for a column that is cut
    if len(batch) < rows:
        batch = np.concatenate(
            [batch, np.zeros((rows - len(batch), *batch.shape[1:]), batch.dtype)]
        )
    return batch
