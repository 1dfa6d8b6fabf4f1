"""Real models on the CPU, with arenas whose slots all hold something of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

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


class Clock:
    """Stands in for `time` in the model's module."""

    now_s = 0.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now_s

    @classmethod
    def process_time(cls) -> float:
        return cls.now_s


def record_sizes(model: Model, seconds: Callable[[int], float] = lambda rows: 0.0) -> list[int]:
    """The rows of every run to come; each takes `seconds(rows)` of `Clock`."""
    sizes: list[int] = []
    run = model.session.run

    def recording(inputs: Any, outputs: Any = None) -> Any:
        sizes.append(len(next(iter(inputs.values()))))
        Clock.now_s += seconds(sizes[-1])
        return run(inputs, outputs)

    model.session.run = recording  # type: ignore[method-assign]
    return sizes
