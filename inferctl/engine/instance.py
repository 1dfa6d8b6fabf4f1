"""What one thread runs batches on: a session, and how tensors get there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from inferctl.arena.slots import ModelArena
from inferctl.engine.captures import CAPTURES
from inferctl.engine.session import OutOfMemory, RunFailed, Session
from inferctl.errors import InsufficientMemory

Array = npt.NDArray[Any]
Index = Array | slice


class Shape(NamedTuple):
    """Rows of a batch and the tokens that each is padded to; 1 where rows have none."""

    rows: int
    tokens: int


@dataclass(slots=True)
class Rows:
    """The slots of a batch, in order; neighbours are a slice, which is read without a copy."""

    index: Index
    count: int

    @classmethod
    def of(cls, slots: Sequence[int]) -> Rows:
        """Slots as an index of a column."""
        first, count = slots[0], len(slots)
        is_slice = slots[-1] - first == count - 1 and list(slots) == list(
            range(first, first + count)
        )
        return cls(slice(first, first + count) if is_slice else np.array(slots), count)


class Instance(Protocol):
    """Runs batches, one at a time, on the device of that name."""

    @property
    def device(self) -> str:
        """As a placement names it."""

    def enter(self) -> None:
        """It is this thread that runs batches from now on."""

    def run(self, arena: ModelArena, rows: Rows, shape: Shape, options: Any) -> list[Array]:
        """The model's outputs in the manifest's order, arrays [shape.rows, …] or fewer rows.

        They are good until the next run. Raises RunFailed when the graph refuses the batch.
        """


class HostInstance:
    """onnxruntime takes arrays in host memory and copies what its device needs.

    `inputs` are the names of the inputs, and whether they have an axis of tokens. Several threads
    may share it.
    """

    def __init__(
        self, session: Session, inputs: Sequence[tuple[str, bool]], outputs: Sequence[str]
    ) -> None:
        self.session = session
        self._inputs, self._outputs = inputs, outputs

    @property
    def device(self) -> str:
        """Its session's."""
        return self.session.placement.device

    def enter(self) -> None:
        """It is nobody's."""

    def run(self, arena: ModelArena, rows: Rows, shape: Shape, options: Any) -> list[Array]:
        """Gather the rows into one array per input, and run them."""
        inputs = {
            name: _gather(arena.inputs[name], rows.index, shape.rows, shape.tokens if varies else 0)
            for name, varies in self._inputs
        }
        if not self.session.on_cuda:
            return self.session.run(inputs, self._outputs, options)
        with CAPTURES.allocating():
            try:
                return self.session.run(inputs, self._outputs, options)
            except OutOfMemory:
                # Before its halves are tried, which may be another session's.
                self.session.shrink({name: array[:1] for name, array in inputs.items()})
                raise


class ShapedInstance:
    """A session for each shape, for what onnxruntime plans anew whenever the shape changes.

    On CUDA a convolution is: 0.1 to 0.2 s, each time. The weights are there as often. `first` is
    one that is there, and `load` makes another; both happen at warm-up, before any shape is served.
    """

    def __init__(self, first: HostInstance, load: Callable[[], HostInstance]) -> None:
        self._spare: HostInstance | None = first
        self._load = load
        self._of: dict[Shape, HostInstance] = {}
        self.device = first.device

    def enter(self) -> None:
        """It is nobody's."""

    def run(self, arena: ModelArena, rows: Rows, shape: Shape, options: Any) -> list[Array]:
        """As `Instance.run`. Raises OutOfMemory when the device holds no more sessions."""
        if (instance := self._of.get(shape)) is None:
            return self._first_run(arena, rows, shape, options)
        return instance.run(arena, rows, shape, options)

    def _first_run(self, arena: ModelArena, rows: Rows, shape: Shape, options: Any) -> list[Array]:
        instance, self._spare = self._spare or self._another(), None
        try:
            results = instance.run(arena, rows, shape, options)
        except RunFailed:
            # A shape that does not fit does not come again, one with a bad row may: either way the
            # session is good, and another one would take memory and time.
            self._spare = instance
            raise
        self._of[shape] = instance
        return results

    def _another(self) -> HostInstance:
        try:
            return self._load()
        except InsufficientMemory as error:
            raise OutOfMemory(error.what) from None


def _gather(column: Array, index: Index, rows: int, tokens: int) -> Array:
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
