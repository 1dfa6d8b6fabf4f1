"""Nodes that make a few detections out of all that a detector proposes, picture by picture.

ONNX's NonMaxSuppression answers for the whole batch at once: a list of (picture, class, box), as
long as it happens to be. Read as if it were one picture's, it gives the others nothing. Here it
only marks what is kept; the marks are laid back on each picture's own candidates, and the best of
each picture are taken from those.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from inferctl.export.imported.heads import Detector
from inferctl.export.imported.nodes import OURS, Nodes

BOXES, SCORES, LABELS = "boxes", "scores", "labels"
# In widths of the input. Boxes reach over its edges, but not so far.
_APART = 4.0


def offsets(labels: int) -> npt.NDArray[np.float32]:
    """Where the boxes of each label are moved to, [labels, 4], so that only their likes overlap.

    On a square grid: in a row the coordinates of the last would be too large to be exact.
    """
    side = math.ceil(math.sqrt(labels))
    places = np.stack([np.arange(labels) % side, np.arange(labels) // side], axis=1)
    return np.tile(places * _APART, 2).astype(np.float32)


def add_detections(nodes: Nodes, detector: Detector) -> None:
    """Make `boxes`, `scores` and `labels` of the detector's output.

    `boxes` float32 [rows, kept, 4] as x1, y1, x2, y2 in 0..1 of the input, `scores` float32
    descending and `labels` int64 [rows, kept]. What is left over is 0 in all three.
    """
    raw = nodes.add("Cast", detector.tensor, to=TensorProto.FLOAT)
    if detector.head == "end-to-end":
        scores, corners, labels = _chosen(nodes, raw, detector)
    else:
        scores, corners, labels = _suppressed(nodes, raw, detector)
    is_there = nodes.add("Greater", scores, nodes.constant(0, np.float32))
    inside = nodes.add(
        "Clip", corners, nodes.constant(0, np.float32), nodes.constant(1, np.float32)
    )
    boxes_there = nodes.shaped(is_there, 0, -1, 1)
    nodes.add("Where", boxes_there, inside, nodes.constant(0, np.float32), output=OURS + BOXES)
    nodes.add("Where", is_there, scores, nodes.constant(0, np.float32), output=OURS + SCORES)
    nodes.add("Where", is_there, labels, nodes.constant(0), output=OURS + LABELS)


def _chosen(nodes: Nodes, raw: str, detector: Detector) -> tuple[str, str, str]:
    """Of [rows, boxes, 6], corners, score and label, the best in order."""
    column = nodes.shaped(nodes.part(raw, 2, 4, 5), 0, -1)
    scores, places = nodes.best(column, detector.kept)
    corners = _taken(nodes, _in_parts(nodes, nodes.part(raw, 2, 0, 4), detector), places)
    column = nodes.shaped(nodes.part(raw, 2, 5, 6), 0, -1)
    labels = nodes.add("GatherElements", column, places, axis=1)
    return scores, corners, nodes.add("Cast", labels, to=TensorProto.INT64)


def _suppressed(nodes: Nodes, raw: str, detector: Detector) -> tuple[str, str, str]:
    """The best label of each box, the best boxes, those that are the best in their place."""
    boxes, by_label = _columns(nodes, raw, detector)
    label = nodes.add("ArgMax", by_label, axis=1, keepdims=1)
    score = nodes.add("GatherElements", by_label, label, axis=1)
    scores, places = nodes.best(score, detector.candidates)
    label = nodes.shaped(nodes.add("GatherElements", label, places, axis=2), 0, -1)
    column = nodes.add("Transpose", boxes, perm=[0, 2, 1])
    corners = _corners(nodes, _taken(nodes, column, nodes.shaped(places, 0, -1)))
    corners = _in_parts(nodes, corners, detector)
    table = nodes.constant(offsets(detector.labels), np.float32)
    moved = nodes.add("Add", corners, nodes.add("Gather", table, label, axis=0))
    marked = nodes.add(
        "NonMaxSuppression",
        moved,
        scores,
        nodes.constant([detector.kept]),
        nodes.constant([detector.iou], np.float32),
    )
    kept, places = nodes.best(_kept(nodes, scores, marked), detector.kept)
    labels = nodes.add("GatherElements", label, places, axis=1)
    return kept, _taken(nodes, corners, places), labels


def _columns(nodes: Nodes, raw: str, detector: Detector) -> tuple[str, str]:
    """Boxes [rows, 4, boxes], centre and size in pixels, and scores [rows, labels, boxes]."""
    if detector.head == "yolov8":
        return nodes.part(raw, 1, 0, 4), nodes.part(raw, 1, 4, 4 + detector.labels)
    columns = nodes.add("Transpose", raw, perm=[0, 2, 1])
    is_object = nodes.part(columns, 1, 4, 5)
    by_label = nodes.part(columns, 1, 5, 5 + detector.labels)
    return nodes.part(columns, 1, 0, 4), nodes.add("Mul", by_label, is_object)


def _kept(nodes: Nodes, scores: str, marked: str) -> str:
    """Scores [rows, candidates], 0 where NonMaxSuppression, [n, 3], did not mark them."""
    scores = nodes.shaped(scores, 0, -1)
    nothing = nodes.add("Mul", scores, nodes.constant(0, np.float32))
    places = nodes.add("Gather", marked, nodes.constant([0, 2]), axis=1)
    count = nodes.part(nodes.add("Shape", marked), 0, 0, 1)
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    ones = nodes.add("ConstantOfShape", count, value=one)
    return nodes.add("Mul", scores, nodes.add("ScatterND", nothing, places, ones))


def _taken(nodes: Nodes, boxes: str, places: str) -> str:
    """Of boxes [rows, n, 4] those at `places` [rows, k]."""
    each = nodes.add("Expand", nodes.shaped(places, 0, -1, 1), nodes.constant([1, 1, 4]))
    return nodes.add("GatherElements", boxes, each, axis=1)


def _corners(nodes: Nodes, boxes: str) -> str:
    """x1, y1, x2, y2 of centre and size."""
    centre, size = nodes.part(boxes, 2, 0, 2), nodes.part(boxes, 2, 2, 4)
    half = nodes.add("Mul", size, nodes.constant(0.5, np.float32))
    low, high = nodes.add("Sub", centre, half), nodes.add("Add", centre, half)
    return nodes.add("Concat", low, high, axis=2)


def _in_parts(nodes: Nodes, pixels: str, detector: Detector) -> str:
    height, width = detector.size
    sides = nodes.constant([width, height, width, height], np.float32)
    return nodes.add("Div", pixels, sides)
