"""A graph in memory and what it must answer like, wherever both came from; needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from inferctl.bundles.manifest import Tensor
from inferctl.errors import CheckpointError, VerificationError
from inferctl.export.compare import Answers
from inferctl.export.samples import Feeds

# What a graph is held against: the module it was drawn from, or the file it was made of.
Origin = Literal["pytorch", "the imported file"]


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX file in memory, and its tensors by contract.

    `reference` gives what `origin` answers to the same feeds, by output name. `notes` say how the
    graph was made where that was not as usual.
    """

    model: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    reference: Callable[[Feeds], Answers]
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


def serialise(proto: onnx.ModelProto) -> bytes:
    """The bytes of an ONNX file; raises CheckpointError when it is too large to be one."""
    try:
        return bytes(proto.SerializeToString())
    except (EncodeError, ValueError):
        raise CheckpointError("the graph is larger than the 2 GB that an ONNX file holds") from None
