"""Puts nodes into a graph, named so that they cannot meet those that are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

# Begins the names of all that is added.
OURS = "inferctl/"


class Nodes:
    """Nodes and constants to be added; each is known by the name of its only output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def add(
        self,
        kind: str,
        *inputs: str,
        outputs: int = 1,
        output: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node; of several outputs the last is returned.

        `output` gives that one its name, where it must have a certain one.
        """
        self._count += 1
        name = f"{OURS}{kind}_{self._count}"
        made = [f"{name}/{number}" for number in range(outputs)]
        if output:
            made[-1] = output
        self.nodes.append(helper.make_node(kind, list(inputs), made, name, **attributes))
        return made[-1]

    def constant(self, values: Any, dtype: npt.DTypeLike = np.int64) -> str:
        """A constant tensor."""
        name = f"{OURS}constant_{len(self.weights)}_{self._count}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def part(self, tensor: str, axis: int, start: int, end: int) -> str:
        """Entries `start` to `end` of an axis."""
        bounds = (self.constant([bound]) for bound in (start, end, axis))
        return self.add("Slice", tensor, *bounds)

    def shaped(self, tensor: str, *shape: int) -> str:
        """The tensor in another shape; 0 keeps an axis, -1 takes what is left."""
        return self.add("Reshape", tensor, self.constant(shape))

    def best(self, tensor: str, count: int) -> tuple[str, str]:
        """The `count` largest of the last axis, descending, and where they were."""
        places = self.add("TopK", tensor, self.constant([count]), outputs=2, axis=-1)
        return places.removesuffix("/1") + "/0", places


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a tensor another name, wherever it is named."""
    for node in _nodes(graph):
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new


def name_nodes(graph: onnx.GraphProto) -> None:
    """A name of its own for every node: quantisers and converters know nodes by nothing else."""
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{OURS}named_{node.op_type}_{number}"
        seen.add(node.name)


def _nodes(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
