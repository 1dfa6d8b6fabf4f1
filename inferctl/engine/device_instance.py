"""Runs batches on a CUDA device: page-locked memory, device buffers and a graph for each shape.

A graph (https://docs.nvidia.com/cuda/cuda-programming-guide, CUDA graphs) launches all kernels of a
run at once, which is what a small batch mostly waits for otherwise. It needs fixed addresses and
shapes, belongs to the thread that captured it, and allows its session no second run beside it: so
an instance has a session and buffers of its own, and one thread.

The instances of a model share the stream of their runs: one runs after the other, while the other's
rows travel. Side by side both would take twice as long and end together, and the device would wait
for what both do next: it was idle for a fifth of the time (docs/log.md).
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.arena.slots import ModelArena
from inferctl.bundles.manifest import Manifest, Tensor
from inferctl.engine.captures import CAPTURES
from inferctl.engine.cuda import Cuda, Memory, array_at
from inferctl.engine.instance import HostInstance, Rows, Shape
from inferctl.engine.session import RunFailed, Session, graph_options

Array = npt.NDArray[Any]

# A replay runs the very kernels that were captured; what differs by more is a wrong address.
SAME = 1e-2
# Differences of outputs that are all smaller than this say nothing.
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Buffer:
    """One tensor of a shape, on both sides."""

    name: str
    host: Array
    device: Memory


@dataclass(frozen=True, slots=True)
class Captured:
    """A shape with its buffers, what binds them to the session, and its graph's number."""

    inputs: Sequence[Buffer]
    outputs: Sequence[Buffer]
    binding: Any
    options: Any


class DeviceInstance:
    """One session on one device, for one thread: the one that calls `enter`.

    `runs` is the stream in which its session runs. A run in any other thread is one without a
    graph.
    """

    def __init__(
        self, cuda: Cuda, session: Session, runs: Memory, manifest: Manifest, host: HostInstance
    ) -> None:
        self._cuda, self._runs = cuda, runs
        self._copies, self._copied = cuda.stream(), cuda.event()
        self._session, self._manifest, self._host = session, manifest, host
        self.device = host.device
        self._captured: dict[Shape, Captured] = {}
        # A capture that failed may have left a graph under its own.
        self._numbers = itertools.count(1)
        self._thread = 0
        # Until a graph answers otherwise than the session did without it.
        self._has_graphs = True
        # A run that failed may not have ended, and nothing may be freed that it works with. It is
        # called before the rest goes, and holds the streams until then.
        streams = self._copies, self._runs
        weakref.finalize(self, _let_go, cuda, streams, self._captured).atexit = False

    def enter(self) -> None:
        """It belongs to this thread from now on."""
        self._thread = threading.get_ident()
        self._cuda.enter()

    def run(self, arena: ModelArena, rows: Rows, shape: Shape, options: Any) -> list[Array]:
        """As `Instance.run`; `options` cannot end a graph's run."""
        captured = self._of(shape) if threading.get_ident() == self._thread else None
        if captured is None:
            return self._host.run(arena, rows, shape, options)
        for buffer in captured.inputs:
            _gather(arena.inputs[buffer.name], rows, buffer.host)
        self._replay(captured, rows.count)
        return [buffer.host for buffer in captured.outputs]

    def _of(self, shape: Shape) -> Captured | None:
        if self._has_graphs and shape not in self._captured:
            self._capture(shape)
        return self._captured.get(shape)

    def _capture(self, shape: Shape) -> None:
        """Make the graph of a shape and see that it answers as the session does without it."""
        captured = self._bind(shape)
        _fill(captured.inputs, self._manifest)
        expected = self._plain(captured)
        with CAPTURES.capturing():
            # onnxruntime runs it twice: what the first run allocates, the second would have to.
            self._replay(captured, shape.rows)
        for buffer in captured.outputs:
            buffer.host[...] = 0
        self._replay(captured, shape.rows)
        found = [buffer.host for buffer in captured.outputs]
        if all(map(_is_same, expected, found)):
            self._captured[shape] = captured
        else:
            self._give_up(shape)

    def _give_up(self, shape: Shape) -> None:
        self._has_graphs = False
        _let_go(self._cuda, (self._copies, self._runs), self._captured)
        sys.stderr.write(
            f"inferctl: {self._manifest.name}: a CUDA graph of {shape.rows} rows answers otherwise "
            "than a run without it; none are used\n"
        )

    def _bind(self, shape: Shape) -> Captured:
        manifest = self._manifest
        inputs = [self._buffer(tensor, shape) for tensor in manifest.inputs]
        outputs = [self._buffer(tensor, shape) for tensor in manifest.outputs]
        binding = self._session.bind(
            {buffer.name: (buffer.host, buffer.device.address) for buffer in inputs},
            {buffer.name: (buffer.host, buffer.device.address) for buffer in outputs},
            self._cuda.kind, self._cuda.device_id,
        )  # fmt: skip
        return Captured(inputs, outputs, binding, graph_options(next(self._numbers)))

    def _buffer(self, tensor: Tensor, shape: Shape) -> Buffer:
        size = (shape.rows, *tensor.row_shape(shape.tokens))
        size_bytes = int(np.prod(size)) * np.dtype(tensor.dtype).itemsize
        host = array_at(self._cuda.host_memory(size_bytes), size, tensor.dtype)
        return Buffer(tensor.name, host, self._cuda.device_memory(size_bytes))

    def _plain(self, captured: Captured) -> list[Array]:
        inputs = {buffer.name: buffer.host for buffer in captured.inputs}
        with CAPTURES.allocating():
            return self._session.run(inputs, [buffer.name for buffer in captured.outputs])

    def _replay(self, captured: Captured, rows: int) -> None:
        """Copy the inputs there, run, and copy the outputs of so many rows back."""
        cuda, copies = self._cuda, self._copies
        for buffer in captured.inputs:
            cuda.upload(buffer.host[:rows], buffer.device, copies)
        cuda.follow(self._runs, copies, self._copied)
        self._session.run_bound(captured.binding, captured.options)
        for buffer in captured.outputs:
            cuda.download(buffer.device, buffer.host[:rows], copies)
        cuda.wait(copies)


def _let_go(cuda: Cuda, streams: Sequence[Memory], captured: dict[Shape, Captured]) -> None:
    for stream in streams:
        with contextlib.suppress(RunFailed):
            cuda.mind_own_captures()  # this may be any thread
            cuda.wait(stream)
    captured.clear()


def _gather(column: Array, rows: Rows, target: Array) -> None:
    """The batch's rows of one tensor, cut to the target's tokens where it has that axis."""
    if column.shape[1:] != target.shape[1:]:
        target[: rows.count] = column[:, : target.shape[1]][rows.index]
    elif isinstance(rows.index, slice):
        target[: rows.count] = column[rows.index]
    else:  # checked by nobody: with a check numpy would copy twice
        np.take(column, rows.index, axis=0, out=target[: rows.count], mode="clip")


def _fill(inputs: Sequence[Buffer], manifest: Manifest) -> None:
    """Something that differs from row to row, and that any model takes."""
    random = np.random.default_rng(0)
    bounds = {tensor.name: tensor.bounds for tensor in manifest.inputs}
    for buffer in inputs:
        host = buffer.host
        if buffer.name == "attention_mask":
            host[...] = 1
        elif host.dtype == np.uint8:
            host[...] = random.integers(0, 256, host.shape)
        elif np.issubdtype(host.dtype, np.integer):
            least, most = bounds[buffer.name] or (0, 1)
            host[...] = random.integers(least, most, host.shape, endpoint=True)
        else:
            host[...] = random.random(host.shape)


def _is_same(expected: Array, found: Array) -> bool:
    finite = np.abs(expected[np.isfinite(expected)])
    scale = float(finite.max(initial=SMALLEST))
    return np.allclose(expected, found, rtol=SAME, atol=SAME * scale, equal_nan=True)
