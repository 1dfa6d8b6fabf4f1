"""What the imported file itself answers, read by numpy: what the bundle's graph is held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inferctl.errors import VerificationError
from inferctl.export.compare import Answers, Array
from inferctl.export.imported.choosing import offsets
from inferctl.export.imported.heads import Detector

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Proposals:
    """Boxes [n, 4] as corners in 0..1, scores and labels [n], the best first."""

    boxes: Singles
    scores: Singles
    labels: npt.NDArray[np.int64]

    def at(self, places: npt.NDArray[np.intp]) -> _Proposals:
        return _Proposals(self.boxes[places], self.scores[places], self.labels[places])


def detections(raw: Array, detector: Detector, where: str) -> Answers:
    """The answer to one picture, whose raw output is [1, …]; raises VerificationError for NaN."""
    output = raw.astype(np.float32)[0]
    if not np.isfinite(output).all():
        raise VerificationError(f"{detector.tensor} holds NaN or infinity", where=where)
    found = _proposals(output, detector)
    order = np.argsort(-found.scores, kind="stable")
    if detector.head == "end-to-end":
        found = found.at(order[: detector.kept])
    else:
        found = found.at(order[: detector.candidates])
        moved = found.boxes + offsets(detector.labels)[found.labels]
        found = found.at(_best_in_place(moved, detector))
    found = found.at(np.flatnonzero(found.scores > 0))
    empty = detector.kept - len(found.scores)
    return {
        "boxes": np.pad(found.boxes.clip(0, 1), ((0, empty), (0, 0)))[None],
        "scores": np.pad(found.scores, (0, empty))[None],
        "labels": np.pad(found.labels, (0, empty))[None],
    }


def probabilities(logits: Array) -> npt.NDArray[np.float64]:
    """Softmax along the last axis."""
    values = logits.astype(np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _proposals(output: Singles, detector: Detector) -> _Proposals:
    height, width = detector.size
    sides = np.array([width, height, width, height], np.float32)
    if detector.head == "end-to-end":
        return _Proposals(output[:, :4] / sides, output[:, 4], output[:, 5].astype(np.int64))
    if detector.head == "yolov8":
        columns, by_label = output.T, output.T[:, 4:]
    else:
        columns, by_label = output, output[:, 5:] * output[:, 4:5]
    centre, half = columns[:, :2], columns[:, 2:4] * np.float32(0.5)
    boxes = np.concatenate([centre - half, centre + half], axis=1) / sides
    return _Proposals(
        boxes.astype(np.float32, copy=False), by_label.max(axis=1), by_label.argmax(axis=1)
    )


def _best_in_place(boxes: Singles, detector: Detector) -> npt.NDArray[np.intp]:
    """Of boxes, the best first, those that no better one overlaps by more than `iou`."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.arange(len(boxes))
    kept: list[int] = []
    while left.size and len(kept) < detector.kept:
        best, others = left[0], left[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[others, :2])
        high = np.minimum(boxes[best, 2:], boxes[others, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        whole = areas[best] + areas[others] - shared
        overlap = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
        left = others[overlap <= np.float32(detector.iou)]
    return np.array(kept, np.intp)
