"""Detection quality: matching by intersection over union and average precision."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image: boxes (n, 4) xyxy, scores (n,) and labels (n,)."""

    boxes: Floats
    scores: Floats
    labels: Integers


@dataclass(frozen=True)
class Truth:
    """What one image holds: boxes (m, 4) xyxy in the unit of the detections, and labels (m,)."""

    boxes: Floats
    labels: Integers


def box_iou(first: Floats, second: Floats) -> npt.NDArray[np.float64]:
    """Return the intersection over union of each pair: (n, 4) and (m, 4) xyxy give (n, m)."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    union: npt.NDArray[np.float64] = areas[0][:, None] + areas[1][None, :] - shared
    ratio: npt.NDArray[np.float64] = np.zeros_like(union)
    np.divide(shared, union, out=ratio, where=union > 0)
    return ratio


def match_detections(
    boxes: Floats, scores: Floats, truth: Floats, threshold: float = 0.5
) -> npt.NDArray[np.bool_]:
    """Say for each detection (n,) of one class in one image whether it is the first to hit a truth.

    The highest score chooses first. A second detection of the same object is a miss.
    """
    hits = np.zeros(len(boxes), dtype=np.bool_)
    if len(truth) == 0 or len(boxes) == 0:
        return hits
    overlaps = box_iou(boxes, truth)
    taken: set[int] = set()
    for index in np.argsort(-scores, kind="stable").tolist():
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= threshold and best not in taken:
            taken.add(best)
            hits[index] = True
    return hits


def average_precision(scores: Floats, hits: npt.NDArray[np.bool_], truths: int) -> float:
    """Return the area under the precision-recall curve, interpolated at every recall.

    `scores` and `hits` are (n,), over all images of one class; `truths` counts its objects.
    """
    if truths == 0:
        return 0.0
    ranked = hits[np.argsort(-scores, kind="stable")]
    found = np.cumsum(ranked)
    recall = np.concatenate([[0.0], found / truths])
    precision = found / np.arange(1, len(ranked) + 1)
    # Interpolation: the precision at a recall is the best at that recall or any above it.
    best_above = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * best_above))


def average_precisions(
    found: Sequence[Detections], truths: Sequence[Truth], classes: int, threshold: float = 0.5
) -> list[float]:
    """Return the average precision of each class over pairs of detections and truth, by image."""
    return [_class_precision(found, truths, label, threshold) for label in range(classes)]


def _class_precision(
    found: Sequence[Detections], truths: Sequence[Truth], label: int, threshold: float
) -> float:
    scores: list[Floats] = []
    hits: list[npt.NDArray[np.bool_]] = []
    objects = 0
    for detections, truth in zip(found, truths, strict=True):
        mine = detections.labels == label
        wanted = truth.boxes[truth.labels == label]
        objects += len(wanted)
        scores.append(detections.scores[mine])
        hits.append(match_detections(detections.boxes[mine], scores[-1], wanted, threshold))
    if not scores:
        return 0.0
    return average_precision(np.concatenate(scores), np.concatenate(hits), objects)
