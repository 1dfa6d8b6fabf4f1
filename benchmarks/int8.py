"""The int8 variants: static for convolutions, dynamic for matrix products of a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Array = npt.NDArray[Any]


class Feeds(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
    """Calibration inputs, one row each."""

    def __init__(self, name: str, rows: Sequence[Array]) -> None:
        self._feeds = iter([{name: row[np.newaxis]} for row in rows])

    def get_next(self) -> dict[str, Array] | None:
        """The next row, or None after the last."""
        return next(self._feeds, None)


def static_int8(model: bytes, name: str, rows: Sequence[Array]) -> bytes:
    """QDQ with U8 activations and S8 weights per channel, calibrated on `rows` of input `name`.

    What comes before the first convolution is normalisation, and stays in float; so do the head
    and the softmax, whose outputs have no eight bits to spare.
    """
    with TemporaryDirectory() as folder:
        prepared, done = _prepared(Path(folder), model), Path(folder) / "int8.onnx"
        quantize_static(
            prepared,
            done,
            Feeds(name, rows),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "Add"],
            nodes_to_exclude=_before_first(onnx.load(prepared), "Conv"),
        )
        return done.read_bytes()


def dynamic_int8(model: bytes) -> bytes:
    """S8 weights of matrix products; activations are scaled at run time."""
    with TemporaryDirectory() as folder:
        prepared, done = _prepared(Path(folder), model), Path(folder) / "int8.onnx"
        # The quantiser transposes the head's weights, then trips over the shape noted before.
        graph = onnx.load(prepared)
        del graph.graph.value_info[:]
        onnx.save(graph, prepared)
        quantize_dynamic(
            prepared,
            done,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
        )
        return done.read_bytes()


def _prepared(folder: Path, model: bytes) -> Path:
    """The model as the quantisers like it: folded, with the shapes of its tensors."""
    raw, prepared = folder / "fp32.onnx", folder / "prepared.onnx"
    raw.write_bytes(model)
    quant_pre_process(raw, prepared, skip_symbolic_shape=True)
    return prepared


def _before_first(model: onnx.ModelProto, kind: str) -> list[str]:
    """Nodes ahead of the first of a kind; a graph's nodes are in topological order."""
    names = []
    for node in model.graph.node:
        if node.op_type == kind:
            break
        names.append(node.name)
    return names
