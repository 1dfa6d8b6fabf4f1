"""How an ONNX file takes a picture: the layout, type and range of its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from inferctl.errors import CheckpointError
from inferctl.export.imported.nodes import Nodes
from inferctl.export.imported.source import OnnxFile

Channels = tuple[float, float, float]
PixelType = Literal["uint8", "float16", "float32"]

_TYPES: dict[int, PixelType] = {
    TensorProto.UINT8: "uint8",
    TensorProto.FLOAT16: "float16",
    TensorProto.FLOAT: "float32",
}


@dataclass(frozen=True, slots=True)
class PixelInput:
    """The input of an image model. `size` is height and width, each 0 where it is free.

    `channels_first`: [rows, 3, height, width], or else [rows, height, width, 3].
    """

    name: str
    dtype: PixelType
    channels_first: bool
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """`(x / 255 - mean) / std`, of values that are not taken as they are, in uint8."""

    mean: Channels
    std: Channels

    @property
    def scales_only(self) -> bool:
        """Whether values are only brought to 0..1."""
        return not any(self.mean) and set(self.std) == {1.0}


def pixel_input(file: OnnxFile) -> PixelInput:
    """Find the one input of an image model; raises CheckpointError when it is no RGB picture."""
    if len(file.inputs) != 1:
        names = ", ".join(value.name for value in file.inputs)
        raise _refused(file, f"it has {len(file.inputs)} inputs ({names}), and a picture is one")
    value = file.inputs[0]
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    dtype = _TYPES.get(value.type.tensor_type.elem_type)
    if dtype is None:
        kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise _refused(file, f"input {value.name} is {kind}, not uint8, float16 or float32")
    if len(dims) != 4 or 3 not in (dims[1], dims[3]):
        raise _refused(
            file,
            f"input {value.name} has shape {dims} (0 is a free axis), "
            "not [rows, 3, height, width] or [rows, height, width, 3]",
        )
    channels_first = dims[1] == 3
    size = (dims[2], dims[3]) if channels_first else (dims[1], dims[2])
    return PixelInput(value.name, dtype, channels_first, size)


def add_pixels(nodes: Nodes, image: str, to: PixelInput, by: Normalisation) -> None:
    """Make the file's input of `image`, uint8 [rows, height, width, 3] RGB."""
    pixels = nodes.add("Transpose", image, perm=[0, 3, 1, 2]) if to.channels_first else image
    if to.dtype == "uint8":
        nodes.add("Identity", pixels, output=to.name)
        return
    pixels = nodes.add("Cast", pixels, to=TensorProto.FLOAT)
    if by.scales_only:
        # A division, as training did it: the values are the same to the last bit.
        pixels = nodes.add("Div", pixels, nodes.constant(255, np.float32))
    else:
        shape = (1, 3, 1, 1) if to.channels_first else (1, 1, 1, 3)
        mean, std = (np.array(part).reshape(shape) for part in (by.mean, by.std))
        pixels = nodes.add("Mul", pixels, nodes.constant(1 / (255 * std), np.float32))
        pixels = nodes.add("Add", pixels, nodes.constant(-mean / std, np.float32))
    kind = TensorProto.FLOAT16 if to.dtype == "float16" else TensorProto.FLOAT
    nodes.add("Cast", pixels, to=kind, output=to.name)


def prepared(picture: npt.NDArray[np.uint8], to: PixelInput, by: Normalisation) -> npt.NDArray[Any]:
    """One picture [height, width, 3] as the file takes it, by numpy: the reference of the above."""
    pixels: npt.NDArray[Any] = picture
    if to.dtype != "uint8":
        values: npt.NDArray[Any] = picture.astype(np.float32) / np.float32(255)
        if not by.scales_only:
            values = (values - np.array(by.mean, np.float32)) / np.array(by.std, np.float32)
        pixels = values.astype(to.dtype)
    return np.ascontiguousarray((pixels.transpose(2, 0, 1) if to.channels_first else pixels)[None])


def _refused(file: OnnxFile, what: str) -> CheckpointError:
    return CheckpointError(
        what,
        where=str(file.path),
        hint="another model can be imported with --task tensor",
    )
