"""Bundles whose answers a person can work out: a colour's name, and a number doubled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

from tests.graphs import image_fields, write_bundle

COLOURS = ("red", "green", "blue")


def write_formulas(models: Path) -> None:
    """`colours`, an image classifier, and `double`, a tensor model."""
    scores = {"name": "scores", "dtype": "float32", "shape": ["rows", len(COLOURS)]}
    fields = image_fields(name="colours", labels=list(COLOURS), outputs=[scores])
    write_bundle(models / "colours" / "1", _colours(), fields)
    x, y = ({"name": name, "dtype": "float32", "shape": ["rows", 4]} for name in "xy")
    fields = image_fields(name="double", task="tensor", labels=[], inputs=[x], outputs=[y])
    del fields["image"]
    write_bundle(models / "double" / "1", _double(), fields)


def _colours() -> ModelProto:
    """The softmax of the mean of each channel."""
    small = helper.make_tensor("small", TensorProto.FLOAT, [1], [1 / 32])
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["means", "small"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    return _model(
        nodes,
        _value("image", TensorProto.UINT8, 2, 2, 3),
        _value("scores", TensorProto.FLOAT, 3),
        small,
    )


def _double() -> ModelProto:
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    return _model(nodes, _value("x", TensorProto.FLOAT, 4), _value("y", TensorProto.FLOAT, 4), two)


def _value(name: str, kind: int, *row: int) -> Any:
    return helper.make_tensor_value_info(name, kind, ["rows", *row])


def _model(nodes: list[Any], given: Any, answer: Any, constant: Any) -> ModelProto:
    graph = helper.make_graph(nodes, "formula", [given], [answer], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
