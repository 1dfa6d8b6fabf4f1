"""The int8 graphs: static for convolutions, dynamic for matrix products of a transformer.

Weights have seven bits of the eight (`reduce_range`): a CPU without VNNI adds two products in 16
bits, which full ones overflow, and answers would depend on the CPU that serves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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

from inferctl.errors import VerificationError
from inferctl.export.foreign import FOREIGN_ERRORS, first_line
from inferctl.export.metadata import copy_metadata
from inferctl.export.onnxfile import read_graph, write_graph

Array = npt.NDArray[Any]

_STATIC_OPS = ["Conv", "Relu", "Clip", "MaxPool", "Add"]
_QUANTISED = ("QuantizeLinear", "DynamicQuantizeLinear")


class _Feeds(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
    """Calibration inputs, one row each."""

    def __init__(self, name: str, rows: Sequence[Array]) -> None:
        self._feeds = iter([{name: row[np.newaxis]} for row in rows])

    def get_next(self) -> dict[str, Array] | None:
        """The next row, or None after the last."""
        return next(self._feeds, None)


def static_int8(
    model: Path,
    folder: Path,
    name: str,
    rows: Sequence[Array],
    *,
    float_predictions: bool = False,
) -> Path:
    """Write a graph in QDQ form into the new `folder`; return its file.

    Activations are U8, weights S8 (seven bits) per channel. It is calibrated on `rows` of `name`.
    What comes before the first convolution is normalisation, and stays in float; so do the head
    and the softmax, whose outputs have no eight bits to spare. With `float_predictions` (of a
    detector) that means the last convolutions too, which predict boxes and scores, and all that
    follows them. Raises VerificationError when nothing is left to be quantised.
    """

    def quantise(prepared: Path, done: Path) -> None:
        proto = read_graph(prepared)
        excluded = _before_first(proto, "Conv")
        if float_predictions:
            excluded += _from_last(proto, "Conv")
        quantize_static(
            prepared,
            done,
            _Feeds(name, rows),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=_STATIC_OPS,
            nodes_to_exclude=excluded,
            use_external_data_format=True,
        )

    return _quantised(model, folder, quantise)


def dynamic_int8(model: Path, folder: Path) -> Path:
    """Write a graph with S8 weights (seven bits) into the new `folder`; return its file.

    Those of matrix products, but the head's; activations are scaled at run time. Raises
    VerificationError when there are no matrix products to quantise.
    """

    def quantise(prepared: Path, done: Path) -> None:
        graph = read_graph(prepared)
        # The quantiser makes matrix products of the head's Gemms and would quantise them too.
        heads = [f"{node.name}_MatMul" for node in graph.graph.node if node.op_type == "Gemm"]
        # It transposes their weights, then trips over the shape noted before.
        del graph.graph.value_info[:]
        prepared.write_bytes(graph.SerializeToString())
        quantize_dynamic(
            prepared,
            done,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=heads,
            use_external_data_format=True,
        )

    return _quantised(model, folder, quantise)


def _quantised(model: Path, folder: Path, quantise: Callable[[Path, Path], None]) -> Path:
    with TemporaryDirectory(dir=folder.parent) as name, _quiet():
        prepared, done = (Path(name) / f"{stage}.onnx" for stage in ("prepared", "done"))
        try:
            # The model as the quantisers like it: folded, with the shapes of its tensors. Weights
            # stay in files of their own until the end, whatever their size.
            quant_pre_process(
                model,
                prepared,
                skip_symbolic_shape=True,
                save_as_external_data=True,
                all_tensors_to_one_file=True,
                external_data_location=f"{prepared.name}.data",
            )
            quantise(prepared, done)
        except OSError:
            raise
        except FOREIGN_ERRORS as error:
            raise VerificationError(
                f"onnxruntime cannot quantise the graph: {first_line(error)}",
                hint="export it with --precision fp32",
            ) from None
        proto = read_graph(done)
        if not any(node.op_type in _QUANTISED for node in proto.graph.node):
            raise VerificationError(
                "nothing in the graph can run in int8: no convolution, or matrix product, is left "
                "between the input and the head",
                hint="export it with --precision fp32",
            )
        copy_metadata(read_graph(model), proto)
        return write_graph(proto, folder, weights_in=done.parent)


def _before_first(model: onnx.ModelProto, kind: str) -> list[str]:
    """Nodes ahead of the first of a kind; a graph's nodes are in topological order."""
    names = []
    for node in model.graph.node:
        if node.op_type == kind:
            break
        names.append(node.name)
    return names


def _from_last(model: onnx.ModelProto, kind: str) -> list[str]:
    """Nodes from which no (other) node of a kind can be reached."""
    leads: set[str] = set()  # tensors that such a node still depends on
    names = []
    for node in reversed(model.graph.node):
        if leads.isdisjoint(node.output):
            names.append(node.name)
        else:
            leads.update(node.input)
        if node.op_type == kind:
            leads.update(node.input)
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantisers log advice that nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
