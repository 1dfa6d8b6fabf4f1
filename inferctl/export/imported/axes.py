"""Frees the rows of a graph that was exported for one row, where that is a matter of naming.

Exporters write a fixed batch in two places: the inputs' shapes, and the constants that tensors are
reshaped by. Whether the graph then does for many rows what it did for one is for the verification
to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import numpy_helper

from inferctl.errors import CheckpointError
from inferctl.export.imported.nodes import OURS

FREED = "its batch was fixed at 1 and was freed"
DYNAMIC_HINT = "export it again with a free batch (Ultralytics: dynamic=True)"


def free_rows(proto: onnx.ModelProto, names: Sequence[str], where: str) -> str | None:
    """Name the first axis of the inputs `names` and of all outputs "rows".

    Returns a note when the axis was fixed. Raises CheckpointError when it is fixed at more than 1.
    """
    fixed, shapes = False, _shapes(proto)
    for value in proto.graph.input:
        if value.name not in names:
            continue
        dims = value.type.tensor_type.shape.dim
        if not dims:
            raise CheckpointError(
                f"input {value.name} has no rows axis", where=where, hint=DYNAMIC_HINT
            )
        if dims[0].dim_value > 1:
            raise CheckpointError(
                f"input {value.name} takes {dims[0].dim_value} rows, no more and no fewer",
                where=where,
                hint=DYNAMIC_HINT,
            )
        fixed = fixed or dims[0].dim_value == 1
        dims[0].dim_param = "rows"
    if fixed:
        _free_reshapes(proto, shapes)
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    # They say what shapes were before.
    del proto.graph.value_info[:]
    return FREED if fixed else None


def _free_reshapes(proto: onnx.ModelProto, shapes: Mapping[str, list[int]]) -> None:
    """Let the constants that reshape what depends on the inputs keep the first axis as it comes.

    `shapes` are those of the file as it was.
    """
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in proto.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    depending = {value.name for value in proto.graph.input if value.name not in constants}
    for number, node in enumerate(proto.graph.node):
        if depending.isdisjoint(node.input):
            continue
        depending.update(node.output)
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        target = numpy_helper.to_array(constants[node.input[1]]).copy()
        if target.ndim != 1 or len(target) < 2 or target[0] != 1:
            continue
        # 0 copies the first axis; where that was not the batch, the batch is what is left over.
        copies = shapes.get(node.input[0], [1])[:1] == [1]
        if not copies and -1 in target:
            continue
        target[0] = 0 if copies else -1
        # Others may be reshaped by the same constant.
        node.input[1] = f"{OURS}shape_{number}"
        proto.graph.initializer.append(numpy_helper.from_array(target, node.input[1]))


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of the tensors as they were exported, 0 where an axis is not known."""
    try:
        inferred = onnx.shape_inference.infer_shapes(proto).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input)
    }
