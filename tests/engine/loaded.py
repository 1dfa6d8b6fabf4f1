"""Real models on the CPU, with arenas whose slots all hold something of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from inferctl.arena.slots import ModelArena
from inferctl.engine.model import Model
from inferctl.settings import RuntimeSettings
from tests.graphs import (
    PIXELS,
    image_fields,
    image_graph,
    new_arena,
    text_fields,
    text_graph,
    write_bundle,
)

SLOTS = 8
UNTOUCHED = -1.0


def load(tmp_path: Path, graph: ModelProto, fields: dict[str, Any]) -> tuple[Model, ModelArena]:
    """A model on the CPU and an arena whose scores are all UNTOUCHED."""
    manifest = write_bundle(tmp_path / "bundle", graph, fields)
    model = Model(tmp_path / "bundle", manifest, RuntimeSettings(device="cpu"), threads=1)
    arena = new_arena(manifest, SLOTS)
    arena.outputs["scores"][:] = UNTOUCHED
    return model, arena


def load_images(
    tmp_path: Path, graph: ModelProto | None = None, **changes: Any
) -> tuple[Model, ModelArena]:
    """Every slot holds values of its own."""
    model, arena = load(tmp_path, graph or image_graph(), image_fields(**changes))
    arena.inputs["image"][:] = np.arange(SLOTS * PIXELS).reshape(SLOTS, 2, 2, 3)
    return model, arena


def load_texts(tmp_path: Path, **changes: Any) -> tuple[Model, ModelArena]:
    """Slot n holds n tokens; each id is ten times its slot."""
    model, arena = load(tmp_path, text_graph(), text_fields(**changes))
    for slot in range(SLOTS):
        arena.tokens[slot] = slot
        arena.inputs["input_ids"][slot] = 10 * slot
        arena.inputs["attention_mask"][slot, :slot] = 1
    return model, arena


def short_graph() -> ModelProto:
    """Like `image_graph`, without the last row of a batch of several."""
    first, last = (
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("first", 0), ("last", -1))
    )
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Cast", ["flat"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["values", "first", "last", "first"], ["scores"]),
    ]
    like = image_graph().graph
    graph = helper.make_graph(nodes, "short", like.input, like.output, [first, last])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def faint_graph() -> ModelProto:
    """Like `image_graph`, with scores as small as those of a thousand labels."""
    tiny = helper.make_tensor("tiny", TensorProto.FLOAT, [], [1e-5])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Cast", ["flat"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "tiny"], ["scores"]),
    ]
    like = image_graph().graph
    graph = helper.make_graph(nodes, "faint", like.input, like.output, [tiny])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def hungry_graph(memory_rows: int) -> ModelProto:
    """Like `image_graph`; a batch of more rows asks for more memory than there is."""
    zero, one, most, much = (
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("one", 1), ("most", memory_rows), ("much", 2**44))
    )
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Cast", ["flat"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["values"], ["small"], axes=[1], keepdims=1),
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["rows"]),
        helper.make_node("Sub", ["rows", "most"], ["over"]),
        helper.make_node("Max", ["over", "zero"], ["excess"]),
        helper.make_node("Mul", ["excess", "much"], ["floats"]),
        helper.make_node("Add", ["floats", "one"], ["width"]),
        helper.make_node("Concat", ["rows", "width"], ["large"], axis=0),
        helper.make_node("Expand", ["small", "large"], ["huge"]),
        helper.make_node("ReduceMin", ["huge"], ["least"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["least", "small"], ["nothing"]),
        helper.make_node("Add", ["values", "nothing"], ["scores"]),
    ]
    like = image_graph().graph
    graph = helper.make_graph(nodes, "hungry", like.input, like.output, [zero, one, most, much])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


class Clock:
    """Stands in for a model's clock; only `seconds` moves it."""

    def __init__(self, model: Model, seconds: Callable[[int], float]) -> None:
        self.now_s = 0.0
        self.sizes = record_sizes(model, lambda rows: self._pass(seconds(rows)))
        model.clock = lambda: self.now_s

    def _pass(self, seconds: float) -> None:
        self.now_s += seconds


def record_sizes(model: Model, on_run: Callable[[int], object] = lambda rows: None) -> list[int]:
    """The rows of every run to come."""
    sizes: list[int] = []
    run = model.instances.session.run

    def recording(inputs: Any, outputs: Any = None, options: Any = None) -> Any:
        sizes.append(len(next(iter(inputs.values()))))
        on_run(sizes[-1])
        return run(inputs, outputs, options)

    model.instances.session.run = recording  # type: ignore[method-assign]
    return sizes
