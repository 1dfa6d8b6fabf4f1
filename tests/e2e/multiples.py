"""Versions of a small model whose answers tell which one they are of, and versions that are broken.

Version v answers v times what it is asked.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper

from inferctl.bundles.manifest import GRAPH_FILE
from tests.graphs import image_fields, image_graph, write_bundle

NAME = "multiples"
FLOATS = {"dtype": "float32", "shape": ["rows", 4]}


def graph(nodes: list[NodeProto], *constants: tuple[str, int, float]) -> ModelProto:
    """From `input` to `output`, each four floats a row."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4])
        for name in ("input", "output")
    ]
    tensors = [helper.make_tensor(name, kind, [1], [value]) for name, kind, value in constants]
    body = helper.make_graph(nodes, "multiples", ends[:1], ends[1:], tensors)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def times(factor: float) -> ModelProto:
    node = helper.make_node("Mul", ["input", "factor"], ["output"])
    return graph([node], ("factor", TensorProto.FLOAT, factor))


def killer() -> ModelProto:
    """Loading it kills its process: the quotient of these two integers is none."""
    nodes = [
        helper.make_node("Div", ["least", "minus_one"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["input", "factor"], ["output"]),
    ]
    int32 = TensorProto.INT32
    return graph(nodes, ("least", int32, -(2**31)), ("minus_one", int32, -1))


def fields(version: int, **changes: Any) -> dict[str, Any]:
    """The manifest as JSON would hold it."""
    tensors = {
        "inputs": [{"name": "input", **FLOATS}],
        "outputs": [{"name": "output", **FLOATS}],
    }
    whole = image_fields(name=NAME, version=version, task="tensor", labels=[], **tensors)
    del whole["image"]
    return whole | changes


class Shelf:
    """A folder of models whose versions are put there and taken away as wholes, by renaming."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self._aside = folder / "aside"
        self._aside.mkdir()
        (self.models / NAME).mkdir(parents=True)

    def put(self, version: int, model: ModelProto | None = None, **changes: Any) -> Path:
        """A version, made where nobody looks."""
        made = self._aside / str(version)
        if not made.exists():
            write_bundle(made, model or times(version), fields(version, **changes))
        return made.rename(self.models / NAME / str(version))

    def take(self, version: int) -> None:
        """Keep a version for later."""
        (self.models / NAME / str(version)).rename(self._aside / str(version))

    def remove(self, version: int) -> None:
        shutil.rmtree(self.models / NAME / str(version))


def flipped(shelf: Shelf) -> None:
    """One bit of the weights."""
    file = shelf.put(2) / GRAPH_FILE
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def missing(shelf: Shelf) -> None:
    (shelf.put(2) / GRAPH_FILE).unlink()


def no_graph(shelf: Shelf) -> None:
    """What was exported, and nothing that onnxruntime loads."""
    shelf.put(2, graph([helper.make_node("Nonsense", ["input"], ["output"])]))


def other_inputs(shelf: Shelf) -> None:
    shelf.put(2, inputs=[{"name": "numbers", **FLOATS}])


def other_task(shelf: Shelf) -> None:
    folder = shelf.models / NAME / "2"
    write_bundle(folder, image_graph(), image_fields(name=NAME, version=2))


def deadly(shelf: Shelf) -> None:
    shelf.put(2, killer())


BROKEN: list[tuple[Callable[[Shelf], None], str]] = [
    (flipped, "SHA-256 differs"),
    (missing, "missing or not a plain file"),
    (no_graph, "onnxruntime cannot load the graph"),
    (other_inputs, "its inputs would be another than of version 1"),
    (other_task, "its task would be another than of version 1"),
    (deadly, "the engine died while it loaded"),
]
