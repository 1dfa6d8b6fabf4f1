"""Makes a workload's bundle, bodies and expected answers; needs two extras: export, benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.progress import track
from rich.table import Table
from tokenizers import Tokenizer

from benchmarks.bodies import CALIBRATION_SEED, SEED, text_bodies, vision_bodies
from benchmarks.nets import MEAN, STD, minilm_folder, text_net, vision_net
from benchmarks.peers.work import Array, load
from benchmarks.workloads import LABELS, PARTS, WORKLOADS, Assets, Workload, bundle_files
from inferctl.bundles.manifest import (
    GRAPH_FILE,
    MAX_GRAPH_BYTES,
    TOKENIZER_FILE,
    ImageInput,
    TextInput,
)
from inferctl.errors import UsageError
from inferctl.export.graph import draw_graph
from inferctl.export.loaded import LoadedModel
from inferctl.export.onnxfile import published_files
from inferctl.export.publish import publish
from inferctl.export.quantise import dynamic_int8, static_int8
from inferctl.tasks.decode import decode_base64, decode_image

MAX_PIXELS = 1_000_000
MAX_BYTES = 10_000_000
CALIBRATION_ROWS = 64
ANSWER_BATCH = 8


def make(workload: Workload, assets: Assets) -> None:
    """Write all of a workload, over what was there."""
    with TemporaryDirectory() as folder:
        files = FILES[workload.name](assets, Path(folder) / "graph")
    opset = next(
        entry.version
        for entry in onnx.load_from_string(files[GRAPH_FILE]).opset_import
        if entry.domain in ("", "ai.onnx")
    )
    target = assets.bundle(workload.name)
    publish(target, bundle_files(workload.name, files, opset), force=True)
    bodies = workload.bodies()
    _write_lines(assets.bodies_file(workload.name), bodies)
    work = load(target, threads=1)
    answers = [
        work.infer([work.preprocess(body)])[0]
        for body in track(bodies, f"{workload.name}: answers", transient=True)
    ]
    _write_lines(assets.answers_file(workload.name), answers)


def agreement_table(assets: Assets) -> Table:
    """Labels and scores of the int8 variants beside fp32's, on all bodies."""
    columns = (
        "workload",
        "labels as fp32",
        "score moves, mean",
        "largest",
        "by its batch, largest",
    )
    table = Table(*columns, title="int8 against fp32")
    for workload in WORKLOADS.values():
        known = assets.answers_file(workload.name).exists()
        if workload.name == workload.base or not known:
            continue
        pairs = list(zip(assets.answers(workload.name), assets.answers(workload.base), strict=True))
        same = [
            abs(ours["score"] - theirs["score"]) for ours, theirs in pairs if _agree(ours, theirs)
        ]
        table.add_row(
            workload.name,
            f"{len(same)} of {len(pairs)}",
            f"{np.mean(same):.4f}",
            f"{max(same):.4f}",
            f"{_batch_effect(workload.name, assets):.4f}",
        )
    return table


def _agree(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return bool(ours["label"] == theirs["label"])


def _batch_effect(name: str, assets: Assets) -> float:
    """How far a score moves when its row runs in a batch of 8 instead of alone."""
    work = load(assets.bundle(name), threads=1)
    items = [work.preprocess(json.loads(body)) for body in assets.bodies(name)]
    moves = []
    for start in range(0, len(items), ANSWER_BATCH):
        together = work.infer(items[start : start + ANSWER_BATCH])
        alone = assets.answers(name)[start : start + ANSWER_BATCH]
        moves += [
            abs(one["score"] - other["score"])
            for one, other in zip(together, alone, strict=True)
            if _agree(one, other)
        ]
    return float(max(moves))


def _vision(_: Assets, folder: Path) -> dict[str, bytes]:
    images = torch.from_numpy(np.stack(_calibration_images()))
    loaded = LoadedModel(
        module=vision_net(images, LABELS, SEED),
        task="image-classification",
        name="vision",
        labels=tuple(PARTS["vision"]["labels"]),
        weights=Path("seeded"),
        sha256="",
        image=ImageInput.model_validate(PARTS["vision"]["image"]),
        mean=MEAN,
        std=STD,
    )
    return {GRAPH_FILE: _published(draw_graph(loaded, folder).file)}


def _vision_int8(assets: Assets, folder: Path) -> dict[str, bytes]:
    model = _fp32(assets, "vision")
    return {GRAPH_FILE: _published(static_int8(model, folder, "image", _calibration_images()))}


def _text(_: Assets, folder: Path) -> dict[str, bytes]:
    minilm = minilm_folder()
    document = (minilm / TOKENIZER_FILE).read_bytes()
    tokenizer = Tokenizer.from_buffer(document)
    tokenizer.no_padding()
    texts = text_bodies(seed=CALIBRATION_SEED)
    loaded = LoadedModel(
        module=text_net(minilm, [tokenizer.encode(body["text"]).ids for body in texts]),
        task="text-classification",
        name="text",
        labels=tuple(PARTS["text"]["labels"]),
        weights=minilm,
        sha256="",
        text=TextInput.model_validate(PARTS["text"]["text"]),
        tokenizer=document,
    )
    return {GRAPH_FILE: _published(draw_graph(loaded, folder).file), TOKENIZER_FILE: document}


def _text_int8(assets: Assets, folder: Path) -> dict[str, bytes]:
    model = _fp32(assets, "text")
    tokenizer = (assets.bundle("text") / TOKENIZER_FILE).read_bytes()
    return {GRAPH_FILE: _published(dynamic_int8(model, folder)), TOKENIZER_FILE: tokenizer}


def _mlp(_: Assets, __: Path) -> dict[str, bytes]:
    """4 → 16 → relu → 3, written node by node: no module is needed for it."""
    rng = np.random.default_rng(SEED)
    shapes = {"w1": (4, 16), "b1": (16,), "w2": (16, 3), "b2": (3,)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["input", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("input", 4), ("logits", 3))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return {GRAPH_FILE: model.SerializeToString()}


def _published(graph: Path) -> bytes:
    return published_files(graph, MAX_GRAPH_BYTES)[GRAPH_FILE].read_bytes()


FILES = {
    "vision": _vision,
    "vision-int8": _vision_int8,
    "text": _text,
    "text-int8": _text_int8,
    "mlp": _mlp,
}


def _calibration_images() -> list[Array]:
    """Other photos than the load's, decoded as the server will."""
    image = ImageInput.model_validate(PARTS["vision"]["image"])
    bodies = vision_bodies(CALIBRATION_ROWS, CALIBRATION_SEED)
    return [
        decode_image(decode_base64(body["image_b64"], MAX_BYTES), image, MAX_PIXELS, "fast").array
        for body in bodies
    ]


def _fp32(assets: Assets, name: str) -> Path:
    graph = assets.bundle(name) / GRAPH_FILE
    if not graph.is_file():
        raise UsageError(
            f"{name}-int8 is made of {name}, which is missing",
            where=str(graph.parent),
            hint=f"make it too: --workload {name} --workload {name}-int8",
        )
    return graph


def _write_lines(path: Path, documents: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(document)}\n" for document in documents))
