"""The fp16 graph, and the few nodes that must stay in fp32: those whose values leave its range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shutil import rmtree

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from inferctl.errors import VerificationError
from inferctl.export.halves import to_half
from inferctl.export.onnxfile import read_graph, write_graph
from inferctl.export.runtime import Model
from inferctl.export.samples import Feeds, Sample

# A conversion and a run over the samples each; a search that has not ended by then keeps the
# smallest set that has been found to work.
MAX_TRIALS = 80
_ROWS_AT_ONCE = 2
Array = npt.NDArray[np.generic]
Works = Callable[[Collection[str]], bool]


@dataclass(frozen=True, slots=True)
class Half:
    """An fp16 graph whose inputs and outputs are as before, and the nodes kept in fp32."""

    file: Path
    kept: tuple[str, ...]
    trials: int


def named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with a name of its own for every node, by which it can be kept."""
    seen: set[str] = set()
    for number, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)
    return proto


def smallest_kept(nodes: Sequence[str], works: Works, trials: int = MAX_TRIALS) -> tuple[str, ...]:
    """The nodes to keep in fp32, none of which can be left out, by delta debugging.

    `works` says whether a graph with these nodes kept does; with all of them it must. After
    `trials` calls the smallest set that works so far is returned.
    """
    left = trials
    kept, parts = list(nodes), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[start : start + size] for start in range(0, len(kept), size)]
        rests = [[name for name in kept if name not in set(piece)] for piece in pieces]
        for number, trial in enumerate((*pieces, *(rests if len(pieces) > 2 else ()))):
            if left <= 0:
                return tuple(kept)
            left -= 1
            if works(trial):
                kept = trial
                parts = 2 if number < len(pieces) else max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return tuple(kept)


def half_precision(
    model: Path,
    folder: Path,
    samples: Sequence[Sample],
    accepts: Callable[[Path], bool],
) -> Half:
    """Convert to fp16 into the new `folder`, and keep in fp32 what must be.

    A graph works when no fp16 value in it overflows on `samples`, and `accepts` it.
    Raises VerificationError when it does not even with every node kept.
    """
    proto = named(read_graph(model))
    overflow = Overflow(model, samples)
    nodes = [node.name for node in proto.graph.node]
    calls = 0

    def written(kept: Collection[str]) -> Path:
        rmtree(folder, ignore_errors=True)
        half = to_half(proto, kept, model.parent)
        return write_graph(half, folder, weights_in=model.parent)

    def works(kept: Collection[str]) -> bool:
        nonlocal calls
        calls += 1
        try:
            half = written(kept)
            return not overflow.of(half) and accepts(half)
        except VerificationError:  # a node without an fp16 form: ONNX Runtime does not load it
            return False

    kept: tuple[str, ...] = ()
    if not works(kept):
        if not works(nodes):
            raise VerificationError(
                "the fp16 graph answers otherwise even with every node kept in fp32",
                hint="export it with --precision fp32",
            )
        kept = smallest_kept(nodes, works)
    return Half(written(kept), kept, calls)


class Overflow:
    """Finds values that are finite in fp32, and NaN or infinite in fp16, anywhere inside a graph.

    The CPU may run fp16 nodes in fp32 and drop the rounding between them, which a GPU does not: so
    every fp16 value is asked for by name. An attention mask may well be infinite in both.
    """

    def __init__(self, fp32: Path, samples: Sequence[Sample]) -> None:
        self._batches = list(_few_rows(samples))
        names = sorted(_tensors(read_graph(fp32), TensorProto.FLOAT))
        self._infinite = [
            {name: ~np.isfinite(array) for name, array in found.items()}
            for found in self._run(fp32, names, TensorProto.FLOAT)
        ]
        for found in self._infinite:
            for name in [name for name, mask in found.items() if not mask.any()]:
                del found[name]

    def of(self, half: Path) -> bool:
        """Whether an fp16 form of the graph overflows."""
        inner = list(_tensors(read_graph(half), TensorProto.FLOAT16))
        for found, known in zip(
            self._run(half, inner, TensorProto.FLOAT16), self._infinite, strict=True
        ):
            for name, array in found.items():
                before = known.get(name, known.get(name.removesuffix("_fp16"), False))
                if (~np.isfinite(array) & ~np.asarray(before)).any():
                    return True
        return False

    def _run(self, graph: Path, names: Sequence[str], kind: int) -> Iterator[dict[str, Array]]:
        """The tensors called `names`, batch by batch."""
        opened = read_graph(graph)
        known = {value.name for value in opened.graph.output}
        opened.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, kind, None)
            for name in names
            if name not in known
        )
        # Beside the graph, where its weights are found.
        beside = graph.with_name("opened.onnx")
        beside.write_bytes(opened.SerializeToString())
        try:
            model = Model(beside) if names else None
        finally:
            beside.unlink()
        for where, feeds in self._batches:
            yield model.run(names, feeds, where) if model else {}


def _few_rows(samples: Sequence[Sample]) -> Iterator[tuple[str, Feeds]]:
    """A few rows at a time: every value inside the graph is held at once."""
    for sample in samples:
        for first in range(0, sample.defined_rows, _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, sample.defined_rows))
            yield (
                f"sample {sample.name}",
                {name: array[rows] for name, array in sample.feeds.items()},
            )


def _tensors(model: onnx.ModelProto, kind: int) -> Iterator[str]:
    """Names of the tensors of a type that nodes of the main graph make."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    for name in chain.from_iterable(node.output for node in model.graph.node):
        if kinds.get(name) == kind:
            yield name
