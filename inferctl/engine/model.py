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
from inferctl.engine.instance import Instance, Rows, Shape
from inferctl.engine.session import DeviceLost, OutOfMemory, RunFailed
from inferctl.engine.spread import Spread
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
        *,
        must_all: bool = True,
    ) -> None:
        """Load it, on each of its devices that `must_all` be there. Raises StartError."""
        self.manifest = manifest
        self.graph = bundle / GRAPH_FILE
        self.instances = Spread(self.graph, manifest, runtime, threads, must_all=must_all)
        self.wide: Wide | None = None
        self.warmed: list[int] = []
        self.rehearsal = rehearsal or Stint(lambda rows, patience: WARM_UP_LIMIT_S)
        self.on_cuda = self.instances.session.on_cuda
        # One thread's CPU time says what a run costs however busy the machine is.
        self.clock: Callable[[], float] = (
            time.thread_time if threads == 1 and not self.on_cuda else time.monotonic
        )
        self.has_tokens = bool(manifest.buckets.tokens)
        self._check_dtypes()
        self._outputs = [
            (tensor.name, tensor.row_shape(manifest.max_tokens)) for tensor in manifest.outputs
        ]

    def _check_dtypes(self) -> None:
        """Raise StartError for an output whose numbers would be cut on their way into a slot."""
        for tensor in self.manifest.outputs:
            found = self.instances.session.output_dtypes.get(tensor.name, tensor.dtype)
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
        instance: Instance | None = None,
        options: Any = None,
    ) -> int:
        """Run the rows in `slots` as one batch, on the first instance or another, and write their
        outputs.

        Returns the work that was done: rows times tokens, with their padding. Raises RunFailed
        when the graph refuses the batch, or `options` end it; no output is written then. After a
        DeviceLost the rows are not finished: one of them may be why.
        """
        rows = Rows.of(slots)
        # From here on, until they are finished, these rows are what killed this process if it dies.
        arena.started_s[rows.index] = time.monotonic()
        try:
            shape = self._padded(rows, arena)
            results = (instance or self.instances.first).run(arena, rows, shape, options)
            for (name, size), result in zip(self._outputs, results, strict=True):
                if result.shape != (shape.rows, *size):  # a row might get another one's answer
                    raise RunFailed(f"output {name} has shape {result.shape}")
        except DeviceLost:
            raise
        except RunFailed:
            arena.finished_s[rows.index] = time.monotonic()
            raise
        except MemoryError:
            arena.finished_s[rows.index] = time.monotonic()
            raise OutOfMemory("no memory for the batch") from None
        for (name, _), result in zip(self._outputs, results, strict=True):
            arena.outputs[name][rows.index] = result[: rows.count]
        arena.batch_rows[rows.index] = rows.count
        arena.finished_s[rows.index] = time.monotonic()
        return shape.rows * shape.tokens

    def _padded(self, rows: Rows, arena: ModelArena) -> Shape:
        """A new shape costs a GPU seconds once; on the CPU padding only costs time."""
        tokens = self._padded_tokens(arena.tokens[rows.index]) if self.has_tokens else 1
        if not self.on_cuda:
            return Shape(rows.count, tokens)
        return Shape(self.warmed[bisect_left(self.warmed, rows.count)], tokens)

    def _padded_tokens(self, lengths: npt.NDArray[np.int32]) -> int:
        """Length that every row of the batch is padded to: the longest's, on a GPU its bucket."""
        longest = max(1, int(lengths.max()))
        buckets = self.manifest.buckets.tokens
        return buckets[bisect_left(buckets, longest)] if self.on_cuda else longest
