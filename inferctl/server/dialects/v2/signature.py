"""A model as the protocol sees it: its tensors, what may be asked of them, and how many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferctl.bundles.manifest import Manifest, Tensor
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import Task
from inferctl.tasks.bounds import SLACK_NAMES, Bounds
from inferctl.tasks.tensor import limits_of, tensor_bounds

if TYPE_CHECKING:
    from inferctl.server.dialects.v2.inference import Inference

DATATYPES = {
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
}
BYTES = "BYTES"
FP16 = "FP16"
LABEL_NAMES = "label_names"

# Of an input: name, shape, datatype, data, parameters, and three of these; an output has less.
NAMES_OF_A_TENSOR = 8


class Port(NamedTuple):
    """An input of the graph. `dims` are a row's, -1 where it has tokens.

    Its values lie between `low` and `high`: the dtype's bounds, or those of ids, which are checked
    in binary too (`is_bounded`), as is that floats are finite.
    """

    name: str
    datatype: str
    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    is_float: bool
    is_bounded: bool
    low: float
    high: float


class Signature:
    """What a request to a model may hold."""

    def __init__(self, manifest: Manifest, limits: LimitsSettings, task: Task) -> None:
        self.name, self.version, self.task = manifest.name, str(manifest.version), task
        self.is_detection = manifest.task == "image-detection"
        self.labels = manifest.labels
        self.max_rows = limits.max_rows
        self.max_tokens = manifest.max_tokens
        self.ports = {tensor.name: _port(tensor, manifest) for tensor in manifest.inputs}
        self.outputs = {tensor.name: tensor for tensor in manifest.outputs}
        # The name under which rows come encoded; an image also under its tensor's.
        self.encoded: tuple[str, ...] = ()
        if manifest.image:
            self.encoded = ("image", manifest.inputs[0].name)
        elif manifest.text:
            self.encoded = ("text",)
        self.bounds = _json_bounds(manifest, limits, task)
        # By the JSON before binary tensors: what a client asks again and again is parsed once.
        self.known: dict[bytes, Inference] = {}


def free_dims(tensor: Tensor) -> list[int]:
    """A tensor's shape, -1 where it is free."""
    return [dim if isinstance(dim, int) else -1 for dim in tensor.shape]


def _port(tensor: Tensor, manifest: Manifest) -> Port:
    dtype, is_float = np.dtype(tensor.dtype), tensor.dtype.startswith("float")
    low, high = limits_of(tensor)
    if manifest.text and not is_float:
        # Whatever is not the ids marks tokens, by 0 and 1.
        low, high = 0, manifest.text.vocab_size - 1 if tensor.name == "input_ids" else 1
    return Port(
        tensor.name,
        DATATYPES[tensor.dtype],
        dtype,
        tuple(free_dims(tensor)[1:]),
        is_float,
        not is_float and (manifest.text is not None or tensor.bounds is not None),
        low,
        high,
    )


def _json_bounds(manifest: Manifest, limits: LimitsSettings, task: Task) -> Bounds:
    """More JSON than this no request needs: of any size only where images come in it."""
    tensors = len(manifest.inputs) + len(manifest.outputs)
    names = NAMES_OF_A_TENSOR * tensors + SLACK_NAMES
    if manifest.image:
        return Bounds(None, names)
    numbers = tensor_bounds(manifest, limits).max_bytes
    return Bounds(max(numbers or 0, task.bounds.max_bytes or 0), names)
