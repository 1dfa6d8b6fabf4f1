"""Rewrites a graph for fp16, but for the nodes that are to stay in fp32."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_LARGEST, _SMALLEST = 65504.0, 5.96e-8
# What is larger becomes this: scores are added to an attention mask, which must not overflow then.
_CUT = 60000.0
# Those of which runtimes have no fp16 kernel, or whose counting fp16 is too coarse for.
KEPT_KINDS = frozenset(
    ("NonMaxSuppression", "TopK", "RoiAlign", "Range", "CumSum", "Min", "Max", "Upsample")
)
# Inputs that are float32 by the operator's definition.
_FLOAT_INPUTS = {"Resize": (2,)}
_SUBGRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def to_half(model: onnx.ModelProto, kept: Collection[str], folder: Path) -> onnx.ModelProto:
    """Convert all nodes but `kept` and those without an fp16 form; inputs and outputs stay.

    Weights that `model` does not hold lie in files of `folder`. What is beyond the range of fp16 is
    cut to it: the -3.4e38 of an attention mask means "never".
    """
    return _Conversion(model, kept, folder).result()


class _Conversion:
    """One pass over the nodes in their order, which casts what is needed in the other type."""

    def __init__(self, model: onnx.ModelProto, kept: Collection[str], folder: Path) -> None:
        self._folder = folder
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        typed = onnx.shape_inference.infer_shapes(model).graph
        values = chain(typed.input, typed.output, typed.value_info)
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._weights = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self._types |= {name: tensor.data_type for name, tensor in self._weights.items()}
        # What each float tensor is in the new graph; weights become what is asked for.
        self._made: dict[str, int] = {value.name: FLOAT for value in typed.input}
        self._outputs = {value.name for value in typed.output}
        self._kept = set(kept)
        self._nodes: list[NodeProto] = []
        self._casts: set[str] = set()
        self._halved: dict[str, TensorProto] = {}

    def result(self) -> onnx.ModelProto:
        """The new graph."""
        graph = self._model.graph
        for node in [NodeProto.FromString(node.SerializeToString()) for node in graph.node]:
            if self._stays(node):
                self._take(node, FLOAT)
                self._nodes.append(node)
                self._made |= dict.fromkeys(node.output, FLOAT)
            else:
                self._halve(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = set(chain.from_iterable(_names(node) for node in self._nodes))
        weights = [tensor for name, tensor in self._weights.items() if name in used]
        del graph.initializer[:]
        graph.initializer.extend((*weights, *self._halved.values()))
        self._describe()
        return self._model

    def _stays(self, node: NodeProto) -> bool:
        nested = any(attribute.type in _SUBGRAPHS for attribute in node.attribute)
        return nested or node.op_type in KEPT_KINDS or node.name in self._kept

    def _halve(self, node: NodeProto) -> None:
        self._take(node, HALF)
        _halve_attributes(node)
        last = []
        for position, name in enumerate(node.output):
            if self._types.get(name) != FLOAT:
                continue
            if name in self._outputs:
                node.output[position] = f"{name}_fp16"
                last.append(
                    helper.make_node("Cast", [f"{name}_fp16"], [name], f"{name}_to_fp32", to=FLOAT)
                )
            self._made[node.output[position]] = HALF
            self._made.setdefault(name, FLOAT)
        self._nodes += [node, *last]

    def _take(self, node: NodeProto, wanted: int) -> None:
        """Give a node its float inputs in the type that it wants."""
        for position, name in enumerate(node.input):
            if self._types.get(name) != FLOAT:
                continue
            always = position in _FLOAT_INPUTS.get(node.op_type, ())
            node.input[position] = self._as(name, FLOAT if always else wanted)

    def _as(self, name: str, wanted: int) -> str:
        if name in self._weights:
            return self._half_weight(name) if wanted == HALF else name
        if self._made.get(name, FLOAT) == wanted:
            return name
        other = f"{name}_{'fp16' if wanted == HALF else 'fp32'}"
        if other not in self._casts and other not in self._made:
            self._nodes.append(
                helper.make_node("Cast", [name], [other], f"{other}_cast", to=wanted)
            )
            self._casts.add(other)
        self._made[other] = wanted
        return other

    def _half_weight(self, name: str) -> str:
        other = f"{name}_fp16"
        if other not in self._halved:
            self._halved[other] = _half_tensor(self._weights[name], other, self._folder)
        return other

    def _describe(self) -> None:
        """Note the new types, without shapes: whoever loads the graph infers them."""
        infos = self._model.graph.value_info
        del infos[:]
        ends = {value.name for value in chain(self._model.graph.input, self._model.graph.output)}
        infos.extend(
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in self._made.items()
            if name not in ends and (kind == HALF or self._types.get(name) == FLOAT)
        )


def _halve_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF
        if attribute.type == AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(_half_tensor(attribute.t, attribute.t.name))
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            values = np.array(onnx.helper.get_attribute_value(attribute), np.float32)
            half = _half_tensor(numpy_helper.from_array(values), "")
            attribute.CopyFrom(helper.make_attribute("value", half))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = numpy_helper.from_array(np.zeros(1, np.float16))
        node.attribute.append(helper.make_attribute("value", zero))


def _half_tensor(tensor: TensorProto, name: str, folder: Path | None = None) -> TensorProto:
    array = numpy_helper.to_array(tensor, str(folder or ""))
    beyond = np.isfinite(array) & (np.abs(array) > _LARGEST)
    near = np.where(beyond, np.copysign(_CUT, array), array)
    # What is not zero must not become zero: it may be what a division is kept from failing by.
    near = np.where((near != 0) & (np.abs(near) < _SMALLEST), np.copysign(_SMALLEST, near), near)
    result: TensorProto = numpy_helper.from_array(near.astype(np.float16), name)
    return result


def _names(node: NodeProto) -> Iterator[str]:
    """Tensors that a node takes, those of its subgraphs included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _names(inner)
