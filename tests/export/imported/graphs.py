"""ONNX files as exporters write them, small enough to know every answer.

The detectors see pictures of 64 x 64 as 8 x 8 cells: a red or a green cell is an object, whose box
is the cell. Each is proposed twice, the second time a little smaller and less sure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CELL = 64, 8
CELLS = (SIDE // CELL) ** 2
BOXES = 2 * CELLS
NAMES = {0: "red", 1: "green"}
LABELS = tuple(NAMES.values())
VOCABULARY = 13
FLOAT = TensorProto.FLOAT

Batch = int | str


class Builder:
    """Nodes and weights of a graph to be."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        made = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name, **attributes))
        return made[-1]

    def weight(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"weight_{len(self.weights)}_{len(self.nodes)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def model(
        self,
        inputs: list[onnx.ValueInfoProto],
        outputs: dict[str, list[Any]],
        metadata: dict[str, object] | None = None,
        **parts: Any,
    ) -> onnx.ModelProto:
        """`outputs` are the tensors to give out with their shapes, the last made first."""
        values = [
            helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "net", inputs, values, self.weights)
        opset = helper.make_opsetid("", parts.pop("opset", 17))
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, **parts)
        helper.set_model_props(model, {key: str(value) for key, value in (metadata or {}).items()})
        return model


def ultralytics(**changes: object) -> dict[str, object]:
    """The metadata of an Ultralytics export."""
    return {
        "description": "Ultralytics YOLOtiny model",
        "author": "Ultralytics",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "version": "8.4.190",
        "stride": 8,
        "task": "detect",
        "batch": 1,
        "imgsz": [SIDE, SIDE],
        "names": NAMES,
        "args": {"batch": 1, "nms": False},
        "channels": 3,
        "end2end": False,
        **changes,
    }


def images(batch: Batch = 1, kind: int = FLOAT, side: Batch = SIDE) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("images", kind, [batch, 3, side, side])


def cell_boxes(shrink: float = 0) -> np.ndarray:
    """Centre and size in pixels [4, cells]."""
    y, x = np.mgrid[0 : SIDE // CELL, 0 : SIDE // CELL] * CELL + CELL / 2
    sizes = np.full((2, CELLS), CELL - shrink)
    return np.concatenate([[x.ravel(), y.ravel()], sizes]).astype(np.float32)


def _cell_scores(net: Builder, pixels: str, batch: Batch) -> str:
    """[rows, 2, cells] in 0..1: how red, and how green, a cell is."""
    plain = net.weight(np.eye(3)[:, :, None, None])
    pixels = net.add("Relu", net.add("Conv", pixels, plain))
    colours = np.array([[1, -1, 0], [-1, 1, 0]])[:, :, None, None] / CELL**2
    kernel = net.weight(np.broadcast_to(colours, (2, 3, CELL, CELL)))
    cells = net.add("Relu", net.add("Conv", pixels, kernel, strides=[CELL, CELL]))
    return net.add(
        "Reshape", cells, net.weight([1, 2, -1] if batch == 1 else [-1, 2, CELLS], np.int64)
    )


def _proposals(net: Builder, pixels: str, batch: Batch) -> tuple[str, str]:
    """Boxes [rows, 4, boxes] and scores [rows, 2, boxes], each object proposed twice."""
    sure = _cell_scores(net, pixels, batch)
    less = net.add("Mul", sure, net.weight(0.9))
    scores = net.add("Concat", sure, less, axis=2)
    one = net.add("Slice", scores, *(net.weight([at], np.int64) for at in (0, 1, 1)))
    nothing = net.add("Mul", one, net.weight(0))
    boxes = net.weight(np.concatenate([cell_boxes(), cell_boxes(0.5)], axis=1)[None])
    return net.add("Add", nothing, boxes), scores


def yolov8(batch: Batch = 1, kind: int = FLOAT, **metadata: object) -> onnx.ModelProto:
    """[rows, 4 + labels, boxes]."""
    net = Builder()
    pixels = "images" if kind == FLOAT else net.add("Cast", "images", to=FLOAT)
    net.add("Concat", *_proposals(net, pixels, batch), axis=1)
    return _detector(net, batch, [6, BOXES], ultralytics(**metadata), kind)


def yolov5(batch: Batch = 1) -> onnx.ModelProto:
    """[rows, boxes, 5 + labels], half of the score in the objectness; names and stride alone."""
    net = Builder()
    boxes, scores = _proposals(net, "images", batch)
    one = net.add("Slice", scores, *(net.weight([at], np.int64) for at in (0, 1, 1)))
    is_object = net.add("Add", net.add("Mul", one, net.weight(0)), net.weight(0.5))
    both = net.add("Concat", boxes, is_object, net.add("Mul", scores, net.weight(2)), axis=1)
    net.add("Transpose", both, perm=[0, 2, 1])
    return _detector(net, batch, [BOXES, 7], {"stride": 8, "names": list(LABELS)})


def end_to_end(batch: Batch = 1, kept: int = 20) -> onnx.ModelProto:
    """[rows, kept, 6]: corners, score, label, the best first."""
    net = Builder()
    scores = _cell_scores(net, "images", batch)
    label = net.add("ArgMax", scores, axis=1, keepdims=1)
    best = net.add("GatherElements", scores, label, axis=1)
    centre, size = cell_boxes()[:2], cell_boxes()[2:]
    corners = net.weight(np.concatenate([centre - size / 2, centre + size / 2])[None])
    corners = net.add("Add", net.add("Mul", best, net.weight(0)), corners)
    both = net.add("Concat", corners, best, net.add("Cast", label, to=FLOAT), axis=1)
    places = net.add("TopK", best, net.weight([kept], np.int64), outputs=2, axis=2)
    each = net.add("Expand", places, net.weight([1, 6, 1], np.int64))
    net.add("Transpose", net.add("GatherElements", both, each, axis=2), perm=[0, 2, 1])
    return _detector(net, batch, [kept, 6], ultralytics(end2end=True))


def first_row_only() -> onnx.ModelProto:
    """Suppression as it is often written: the rows after the first are given nothing."""
    net = Builder()
    whole = net.add("Concat", *_proposals(net, "images", "batch"), axis=1)
    start, one, end, axis = (net.weight([at], np.int64) for at in (0, 1, 1000, 0))
    first = net.add("Slice", whole, start, one, axis)
    others = net.add("Slice", net.add("Mul", whole, net.weight(0)), one, end, axis)
    net.add("Concat", first, others, axis=0)
    return _detector(net, "batch", [6, BOXES], ultralytics())


def unfreeable() -> onnx.ModelProto:
    """On its way the row is taken for granted and lost."""
    net = Builder()
    whole = net.add("Concat", *_proposals(net, "images", 1), axis=1)
    net.add(
        "Reshape",
        net.add("Reshape", whole, net.weight([6, BOXES], np.int64)),
        net.weight([1, 6, BOXES], np.int64),
    )
    return _detector(net, 1, [6, BOXES], ultralytics())


def classifier(
    batch: Batch = 1,
    *,
    kind: str = "logits",
    side: Batch = SIDE,
    metadata: dict[str, object] | None = None,
) -> onnx.ModelProto:
    """[rows, 3]: the mean of each channel, times ten, as logits, probabilities or sigmoids."""
    net = Builder()
    mean = net.add("GlobalAveragePool", "images")
    rows = 1 if batch == 1 else -1
    flat = net.add("Reshape", mean, net.weight([rows, 3], np.int64))
    net.add("Mul", flat, net.weight(10))
    if kind != "logits":
        last = net.nodes[-1].output[0]
        net.add("Softmax", last, axis=1) if kind == "probabilities" else net.add("Sigmoid", last)
    return net.model([images(batch, side=side)], {net.nodes[-1].output[0]: [batch, 3]}, metadata)


def byte_classifier() -> onnx.ModelProto:
    """uint8 [rows, height, width, 3] in, and an input of a bundle's own name."""
    net = Builder()
    values = net.add("Div", net.add("Cast", "image", to=FLOAT), net.weight(25.5))
    net.add("ReduceMean", values, axes=[1, 2], keepdims=0)
    value = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    return net.model([value], {net.nodes[-1].output[0]: ["n", 3]})


def reader(kind: int = TensorProto.INT64, *, types: bool = True) -> onnx.ModelProto:
    """Logits [rows, 2]: the sums of the words' two values, and those of their types."""
    net = Builder()
    table = np.random.default_rng(5).normal(size=(VOCABULARY, 2))
    values = net.add("Gather", net.weight(table), "input_ids")
    names = ["input_ids", "attention_mask"]
    if types:
        names.append("token_type_ids")
        values = net.add("Add", values, net.add("Gather", net.weight(np.eye(2) * 3), names[2]))
    mask = net.add("Unsqueeze", "attention_mask", net.weight([2], np.int64))
    masked = net.add("Mul", values, net.add("Cast", mask, to=FLOAT))
    net.add("ReduceSum", masked, net.weight([1], np.int64), keepdims=0)
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", "sequence"]) for name in names]
    return net.model(inputs, {net.nodes[-1].output[0]: ["batch", 2]})


def sums(batch: Batch = "n") -> onnx.ModelProto:
    """A bare graph: two inputs, their sum and its double."""
    net = Builder()
    once = net.add("Add", "a", "b")
    twice = net.add("Mul", once, net.weight(2))
    inputs = [helper.make_tensor_value_info(name, FLOAT, [batch, 4]) for name in "ab"]
    return net.model(inputs, {once: [batch, 4], twice: [batch, 4]})


def _detector(
    net: Builder, batch: Batch, row: list[int], metadata: dict[str, object], kind: int = FLOAT
) -> onnx.ModelProto:
    last = net.nodes[-1]
    if kind == TensorProto.FLOAT16:
        net.add("Cast", last.output[0], to=kind)
        last = net.nodes[-1]
    last.output[0] = "output0"
    model = net.model([images(batch, kind)], {"output0": [batch, *row]}, metadata)
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def picture(width: int, height: int, *cells: tuple[str, tuple[int, int, int, int]]) -> np.ndarray:
    """Black, but for rectangles (x1, y1, x2, y2) of a colour; uint8 [height, width, 3]."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for label, (left, top, right, bottom) in cells:
        pixels[top:bottom, left:right, LABELS.index(label)] = 255
    return pixels
