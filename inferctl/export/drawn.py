"""A graph on disk and what it must answer like, wherever both came from; needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from inferctl.bundles.manifest import Tensor
from inferctl.errors import VerificationError
from inferctl.export.compare import Answers
from inferctl.export.samples import Feeds

# What a graph is held against: the module it was drawn from, or the file it was made of.
Origin = Literal["pytorch", "the imported file"]


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX file, and its tensors by contract.

    `file` is a `model.onnx`; its weights may lie beside it. `reference` gives what `origin` answers
    to the same feeds, by output name, until `release` gives back the memory that it needs. `notes`
    say how the graph was made where that was not as usual.
    """

    file: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    reference: Callable[[Feeds], Answers]
    release: Callable[[], None]
    origin: Origin = "pytorch"
    notes: tuple[str, ...] = ()


def check_axes(proto: onnx.ModelProto, axes: dict[str, tuple[str, ...]]) -> None:
    """Ask the graph for the axes that must be free; raises VerificationError for a fixed one."""
    for value in proto.graph.input:
        for position, axis in enumerate(axes[value.name]):
            _check_axis(value, position, axis)
    for value in proto.graph.output:
        _check_axis(value, 0, "rows")


def _check_axis(value: onnx.ValueInfoProto, position: int, axis: str) -> None:
    dim = value.type.tensor_type.shape.dim[position]
    if dim.dim_param != axis:
        found = f"fixed at {dim.dim_value}" if dim.HasField("dim_value") else "not named"
        raise not_free(axis, found, where=f"tensor {value.name}, axis {position}")


def not_free(axis: str, found: str, *, where: str) -> VerificationError:
    """The error of an axis that must be free, and is `found` fixed at a number or not named."""
    return VerificationError(
        f"the graph's {axis} axis is {found}",
        where=where,
        hint="do not loop over rows or use their number as a Python integer in the model",
    )
