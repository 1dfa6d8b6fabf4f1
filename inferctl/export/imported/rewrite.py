"""Turns the graph of an ONNX file into that of a bundle: its inputs, outputs and free rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from inferctl.bundles.manifest import Tensor
from inferctl.errors import CheckpointError
from inferctl.export.compare import Answers
from inferctl.export.drawn import Graph
from inferctl.export.imported.axes import free_rows
from inferctl.export.imported.model import ImportedModel
from inferctl.export.imported.nodes import OURS, Nodes, name_nodes, rename
from inferctl.export.imported.original import Original
from inferctl.export.imported.outputs import Answering, answering
from inferctl.export.imported.pixels import add_pixels
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.texts import IDS, MASK, TYPES
from inferctl.export.metadata import write_metadata
from inferctl.export.onnxfile import write_graph
from inferctl.export.samples import Feeds, example
from inferctl.export.tensors import tensor_samples

IMAGE = "image"
# The oldest IR whose weights need not be listed among the inputs, with room to spare.
_LEAST_IR = 8
_RIGHTS = ("author", "license")
_TYPES: dict[str, int] = {
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
}
_DTYPES = {number: name for name, number in _TYPES.items()}


def rewrite(model: ImportedModel, request: ImportRequest, folder: Path) -> Graph:
    """Write the bundle's graph into the new `folder`, and make what it is to be held against.

    Raises CheckpointError or UsageError when inputs or outputs are not those of the task, and
    VerificationError when ONNX Runtime refuses the file.
    """
    inputs = _inputs(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(model.file.proto)
    freed = free_rows(proto, [value.name for value in model.file.inputs], model.where)
    original = Original(model)
    answers = answering(model, request, original.rows(_example(model, inputs), "an example"))
    if model.task == "tensor":
        _declare(proto, inputs, answers.outputs)
    else:
        _wrap(proto, model, inputs, answers)
    proto.ir_version = max(proto.ir_version, _LEAST_IR)
    name_nodes(proto.graph)
    _describe(proto, model, inputs, answers.outputs)

    def reference(feeds: Feeds) -> Answers:
        where = model.file.path.name
        rows = [answers.expected(raw, where) for raw in original.rows(feeds, where)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return Graph(
        file=write_graph(proto, folder, weights_in=model.file.path.parent),
        inputs=inputs,
        outputs=answers.outputs,
        opset=model.file.opset,
        reference=reference,
        release=original.close,
        origin="the imported file",
        notes=tuple(note for note in (answers.note, freed) if note),
    )


def _inputs(model: ImportedModel) -> tuple[Tensor, ...]:
    """What the bundle takes."""
    if model.image is not None:
        size = model.image.height, model.image.width
        return (Tensor(name=IMAGE, dtype="uint8", shape=("rows", *size, 3)),)
    if model.text is not None:
        return tuple(Tensor(name=n, dtype="int64", shape=("rows", "tokens")) for n in (IDS, MASK))
    return tuple(_tensor(model, value) for value in model.file.inputs)


def _tensor(model: ImportedModel, value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type not in _DTYPES or not dims or not all(dims[1:]):
        raise CheckpointError(
            f"input {value.name} is {TensorProto.DataType.Name(kind.elem_type)} {dims} "
            f"(0 is a free axis), and must be one of {', '.join(_TYPES)} with fixed axes but rows",
            where=model.where,
            hint="export it again with fixed inner axes",
        )
    return Tensor.model_validate(
        {"name": value.name, "dtype": _DTYPES[kind.elem_type], "shape": ("rows", *dims[1:])}
    )


def _example(model: ImportedModel, inputs: Sequence[Tensor]) -> Feeds:
    return next(tensor_samples(inputs)).feeds if model.task == "tensor" else example(model)


def _wrap(
    proto: onnx.ModelProto, model: ImportedModel, inputs: Sequence[Tensor], answers: Answering
) -> None:
    """Put nodes before and behind the graph."""
    graph, nodes = proto.graph, Nodes()
    if model.pixels is not None:
        add_pixels(nodes, OURS + IMAGE, model.pixels, model.normalisation)
    else:
        _add_tokens(nodes, model)
    before = len(nodes.nodes)
    answers.add(nodes)
    all_nodes = [*nodes.nodes[:before], *graph.node, *nodes.nodes[before:]]
    del graph.node[:]
    graph.node.extend(all_nodes)
    graph.initializer.extend(nodes.weights)
    for name in (tensor.name for tensor in (*inputs, *answers.outputs)):
        # The file may have tensors of these names itself.
        rename(graph, name, f"original/{name}")
        rename(graph, OURS + name, name)
    _declare(proto, inputs, answers.outputs)


def _add_tokens(nodes: Nodes, model: ImportedModel) -> None:
    """Ids and mask in the file's own integers; every token is of type 0, that of a first text."""
    for value in model.file.inputs:
        source = OURS + (IDS if value.name == TYPES else value.name)
        if value.name == TYPES:
            source = nodes.add("Sub", source, source)
        nodes.add("Cast", source, to=value.type.tensor_type.elem_type, output=value.name)


def _describe(
    proto: onnx.ModelProto,
    model: ImportedModel,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> None:
    """Say what the bundle's graph is instead of what the file was, but for whose it is."""
    write_metadata(proto, model, inputs, outputs)
    for key in _RIGHTS:
        if key in model.file.metadata:
            proto.metadata_props.add(key=key, value=model.file.metadata[key])


def _declare(proto: onnx.ModelProto, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """List inputs and outputs as the bundle has them."""
    graph = proto.graph
    for values, tensors in ((graph.input, inputs), (graph.output, outputs)):
        del values[:]
        values.extend(
            helper.make_tensor_value_info(tensor.name, _TYPES[tensor.dtype], tensor.shape)
            for tensor in tensors
        )
