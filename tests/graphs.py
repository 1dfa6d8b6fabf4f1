"""Tiny ONNX graphs whose outputs tell which row went in, and the bundles around them."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from inferctl.arena.layout import arena_bytes
from inferctl.arena.slots import ModelArena
from inferctl.bundles.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    File,
    Manifest,
)

PIXELS = 2 * 2 * 3
MAX_TOKENS = 8
# `picky_graph` fails on a batch that holds a row whose first value is this.
POISON = 255

# `write_bundle` puts the graph's real size and hash in its place.
UNWRITTEN = {"bytes": 0, "sha256": "0" * 64}


def image_fields(**changes: Any) -> dict[str, Any]:
    """The manifest of `image_graph` and `picky_graph` as JSON would hold it."""
    return {
        "name": "pixels",
        "version": 1,
        "task": "image-classification",
        "inputs": [{"name": "image", "dtype": "uint8", "shape": ["rows", 2, 2, 3]}],
        "outputs": [{"name": "scores", "dtype": "float32", "shape": ["rows", PIXELS]}],
        "labels": [f"pixel {number}" for number in range(PIXELS)],
        "image": {"height": 2, "width": 2},
        "buckets": {"rows": [1, 2, 4], "tokens": []},
        "opset": 17,
        "producer": "tests",
        "created_at": "2026-01-01T00:00:00Z",
        "files": {GRAPH_FILE: UNWRITTEN},
        **changes,
    }


def text_fields(**changes: Any) -> dict[str, Any]:
    """The manifest of `text_graph` as JSON would hold it."""
    tokens = {"dtype": "int64", "shape": ["rows", "tokens"]}
    fields = image_fields(
        name="words",
        task="text-classification",
        inputs=[{"name": "input_ids", **tokens}, {"name": "attention_mask", **tokens}],
        outputs=[{"name": "scores", "dtype": "float32", "shape": ["rows", 2]}],
        labels=["sum", "length"],
        files={GRAPH_FILE: UNWRITTEN, TOKENIZER_FILE: UNWRITTEN},
        text={"max_tokens": MAX_TOKENS, "pad_id": 0, "vocab_size": 100},
        buckets={"rows": [1, 2, 4], "tokens": [4, MAX_TOKENS]},
    )
    del fields["image"]
    return fields | changes


def image_manifest(**changes: Any) -> Manifest:
    """The parsed manifest of the image graphs."""
    return Manifest.model_validate(image_fields(**changes))


def text_manifest(**changes: Any) -> Manifest:
    """The parsed manifest of the text graph."""
    return Manifest.model_validate(text_fields(**changes))


def image_graph() -> ModelProto:
    """`scores` are the row's twelve values."""
    return _model(
        [
            helper.make_node("Flatten", ["image"], ["flat"], axis=1),
            helper.make_node("Cast", ["flat"], ["scores"], to=TensorProto.FLOAT),
        ],
        [_value("image", TensorProto.UINT8, ["rows", 2, 2, 3])],
        [_value("scores", TensorProto.FLOAT, ["rows", PIXELS])],
    )


def picky_graph() -> ModelProto:
    """Like `image_graph`; a row whose first value is POISON fails the whole batch."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [POISON], [0.0] * POISON)
    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    return _model(
        [
            helper.make_node("Flatten", ["image"], ["flat"], axis=1),
            helper.make_node("Cast", ["flat"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Gather", ["whole", "first"], ["index"], axis=1),
            helper.make_node("Gather", ["table", "index"], ["zero"], axis=0),
            helper.make_node("Cast", ["flat"], ["values"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["values", "zero"], ["scores"]),
        ],
        [_value("image", TensorProto.UINT8, ["rows", 2, 2, 3])],
        [_value("scores", TensorProto.FLOAT, ["rows", PIXELS])],
        [table, first],
    )


def text_graph() -> ModelProto:
    """`scores` are the sum of the unmasked ids, and how many tokens long the batch was."""
    last = helper.make_tensor("last", TensorProto.INT64, [1], [1])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    return _model(
        [
            helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "last"], ["sum"]),
            helper.make_node("Shape", ["input_ids"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=one),
            helper.make_node("ReduceSum", ["ones", "last"], ["length"]),
            helper.make_node("Concat", ["sum", "length"], ["both"], axis=1),
            helper.make_node("Cast", ["both"], ["scores"], to=TensorProto.FLOAT),
        ],
        [
            _value("input_ids", TensorProto.INT64, ["rows", "tokens"]),
            _value("attention_mask", TensorProto.INT64, ["rows", "tokens"]),
        ],
        [_value("scores", TensorProto.FLOAT, ["rows", 2])],
        [last],
    )


def write_bundle(folder: Path, graph: ModelProto, fields: dict[str, Any]) -> Manifest:
    """Write `model.onnx` and a manifest with the hashes of its files; the manifest."""
    folder.mkdir(parents=True)
    (folder / GRAPH_FILE).write_bytes(graph.SerializeToString())
    for name in fields["files"]:
        (folder / name).touch()  # a tokenizer, which the engine does not read
    files = {name: File.of(folder / name) for name in fields["files"]}
    manifest = Manifest.model_validate(fields | {"files": files})
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
    return manifest


def new_arena(manifest: Manifest, slots: int, workers: int = 1) -> ModelArena:
    """An arena of this process alone."""
    return ModelArena(manifest, slots, workers, mmap.mmap(-1, arena_bytes(manifest, slots)))


def _value(name: str, kind: int, shape: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    constants: list[TensorProto] | None = None,
) -> ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
