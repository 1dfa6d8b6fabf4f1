"""Bundles with planted faults: copies whose graph, manifest or report was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from inferctl.bundles.manifest import File

Edit = Callable[[onnx.ModelProto], None]


def damaged(
    bundle: Path, target: Path, edit: Edit | None = None, *, unrecorded: bool = True, **fields: Any
) -> Path:
    """Copy a bundle, change its graph and its manifest's fields, and make the hashes right again.

    `unrecorded` takes away the export's report, which remembers the graph's hash and the labels.
    """
    shutil.copytree(bundle, target)
    if edit is not None:
        proto = onnx.load(target / "model.onnx")
        edit(proto)
        (target / "model.onnx").write_bytes(proto.SerializeToString())
    manifest = json.loads((target / "manifest.json").read_bytes()) | fields
    if unrecorded:
        (target / "report.json").unlink()
    manifest["files"] = {name: File.of(target / name).model_dump() for name in manifest["files"]}
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def change_weight(name_part: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change the first initializer whose shape or name tells that it is meant."""

    def edit(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if name_part in tensor.name:
                array = change(numpy_helper.to_array(tensor).copy())
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
                return
        raise AssertionError(f"no weight {name_part}")

    return edit


def fix_rows(proto: onnx.ModelProto) -> None:
    """A graph made for batches of two."""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def answer_first_row_only(proto: onnx.ModelProto) -> None:
    """Every row gets the answer of the first, as of a top-k that was written for one picture."""
    graph = proto.graph
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "first"))
    for output in list(graph.output):
        inner = f"{output.name}_of_all"
        for node in graph.node:
            node.output[:] = [inner if name == output.name else name for name in node.output]
            node.input[:] = [inner if name == output.name else name for name in node.input]
        graph.node.append(
            onnx.helper.make_node("Gather", [inner, "first"], [f"{inner}_one"], axis=0)
        )
        graph.node.append(onnx.helper.make_node("Shape", [inner], [f"{inner}_shape"]))
        graph.node.append(
            onnx.helper.make_node("Expand", [f"{inner}_one", f"{inner}_shape"], [output.name])
        )


def take_segments(proto: onnx.ModelProto) -> None:
    """A third input, as BERT has it: its sum is added to the scores."""
    graph = proto.graph
    third = onnx.ValueInfoProto()
    third.CopyFrom(graph.input[0])
    third.name = "token_type_ids"
    graph.input.append(third)
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "tokens_axis"))
    for node in graph.node:
        node.output[:] = ["scores_before" if name == "scores" else name for name in node.output]
    graph.node.extend(
        [
            onnx.helper.make_node("ReduceSum", ["token_type_ids", "tokens_axis"], ["sum"]),
            onnx.helper.make_node("Cast", ["sum"], ["added"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Add", ["scores_before", "added"], ["scores"]),
        ]
    )


def divide_by_zero(proto: onnx.ModelProto) -> None:
    """NaN for every black picture, as a normalisation by each picture's own contrast gives."""
    graph = proto.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), "picture_axes"))
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["as_float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMax", ["as_float", "picture_axes"], ["top"], keepdims=0),
        onnx.helper.make_node("Div", ["top", "top"], ["one_or_nan"]),
        onnx.helper.make_node("Unsqueeze", ["one_or_nan", "last"], ["one_column"]),
        onnx.helper.make_node("Mul", ["scores_before", "one_column"], ["scores"]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "last"))
    for node in graph.node:
        node.output[:] = ["scores_before" if name == "scores" else name for name in node.output]
    graph.node.extend(nodes)
