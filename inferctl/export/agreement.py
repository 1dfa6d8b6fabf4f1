"""How often two graphs give the same answer, and how far their scores lie apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from inferctl.bundles.manifest import Precision
from inferctl.errors import VerificationError
from inferctl.export.compare import Answers, Floats

# A detection with a lower score is one that a client will hardly be shown.
CONFIDENT = 0.3
# Two boxes of one label that overlap so much are one detection, as in mAP@0.5.
SAME_BOX_IOU = 0.5
_SAME_PLACE = 1e-3
# Share of rows whose answer may change.
MAX_DROP = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """What a precision may do to answers; `undecided` is for labels, the rest for values.

    Where the best score leads by less than `undecided`, fp32 itself has not decided: another answer
    there is counted and shown, but no fault. `score` is the largest move of any score that is
    rounding and no damage; `mean_iou` the least mean overlap of matched boxes.
    """

    score: float
    undecided: float
    mean_iou: float


LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(score=1e-4, undecided=1e-6, mean_iou=0.999),
    "fp16": Limits(score=0.02, undecided=0.01, mean_iou=0.98),
    "int8": Limits(score=0.35, undecided=0.1, mean_iou=0.85),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row in both graphs: `drift` is its largest move of a score, `ious` of matched boxes."""

    name: str
    what: str
    changed: bool
    undecided: bool
    drift: float
    ious: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rows compared; `changed` of them answer otherwise, and in `undecided` more fp32 wavers."""

    rows: int
    changed: int
    undecided: int
    detections: int
    mean_iou: float | None
    mean_drift: float
    max_drift: float
    worst: str

    @property
    def drop(self) -> float:
        """Share of rows whose answer changed."""
        return self.changed / self.rows

    def document(self) -> dict[str, object]:
        """As it is written into reports."""
        return {**asdict(self), "drop": self.drop}

    def sentence(self) -> str:
        """How many answers changed, and how far the rest moved."""
        text = f"{self.changed} of {self.rows} answers change"
        if self.undecided:
            text += f", and {self.undecided} that fp32 had hardly decided"
        text += f"; scores move by {self.mean_drift:.4f} on average, {self.max_drift:.4f} at most"
        if self.mean_iou is not None:
            text += f"; {self.detections} boxes overlap by {self.mean_iou:.3f}"
        return text


def compare_rows(
    expected: Answers, actual: Answers, limits: Limits, sample: str, names: Sequence[str] = ()
) -> Iterator[Row]:
    """Compare two answers to one batch row by row; `names` are those of the labels."""
    for row in range(len(next(iter(expected.values())))):
        name = f"{sample}, row {row}"
        left, right = ({key: array[row] for key, array in a.items()} for a in (expected, actual))
        if "boxes" in expected:
            yield _detections(left, right, limits, name, names)
        elif set(expected) == {"scores"} and left["scores"].ndim == 1:
            yield _top(_floats(left["scores"]), _floats(right["scores"]), limits, name, names)
        else:
            yield _values(left, right, limits, name)


def summarise(rows: Iterable[Row]) -> Agreement:
    """Count; the worst row is one that changed before one that drifted."""
    found = list(rows)
    ious = list(chain.from_iterable(row.ious for row in found))
    worst = max(found, key=lambda row: (row.changed, row.drift))
    return Agreement(
        rows=len(found),
        changed=sum(row.changed for row in found),
        undecided=sum(row.undecided for row in found),
        detections=len(ious),
        mean_iou=float(np.mean(ious)) if ious else None,
        mean_drift=float(np.mean([row.drift for row in found])),
        max_drift=max(row.drift for row in found),
        worst=f"{worst.name}: {worst.what}",
    )


def fault(agreement: Agreement, limits: Limits, max_drop: float) -> str | None:
    """What is wrong with an agreement, in a sentence; None when it is within the limits."""
    if agreement.drop > max_drop:
        return (
            f"{agreement.changed} of {agreement.rows} answers change "
            f"({agreement.drop:.1%}, allowed are {max_drop:.1%})"
        )
    if agreement.max_drift > limits.score:
        return f"a score moves by {agreement.max_drift:.3g}, allowed are {limits.score:g}"
    if agreement.mean_iou is not None and agreement.mean_iou < limits.mean_iou:
        return (
            f"boxes overlap by {agreement.mean_iou:.3f} on average, least are {limits.mean_iou:g}"
        )
    return None


def largest_move(expected: Answers, actual: Answers) -> float:
    """The largest difference of any number of two answers of the same shapes; NaN is infinite."""
    moves = [
        float(np.abs(_floats(array) - _floats(actual[name])).max(initial=0))
        for name, array in expected.items()
    ]
    return max(move if np.isfinite(move) else np.inf for move in moves)


def check_agreement(agreement: Agreement, limits: Limits, max_drop: float, *, where: str) -> None:
    """Raise VerificationError naming the worst sample, when an agreement is outside its limits."""
    problem = fault(agreement, limits, max_drop)
    if problem is not None:
        raise VerificationError(f"{problem}; worst is sample {agreement.worst}", where=where)


def _top(expected: Floats, actual: Floats, limits: Limits, name: str, names: Sequence[str]) -> Row:
    top, other = int(expected.argmax()), int(actual.argmax())
    drift = float(np.abs(expected - actual).max())
    decided = float(expected[top] - expected[other]) > limits.undecided
    what = f"scores move by {drift:.3g}"
    if top != other:
        what = f"{_label(names, other)} instead of {_label(names, top)}, {what}"
    return Row(name, what, top != other and decided, top != other and not decided, drift)


def _detections(
    expected: Answers, actual: Answers, limits: Limits, name: str, names: Sequence[str]
) -> Row:
    missing, ious, drift = _unmatched(expected, actual)
    new, _, back = _unmatched(actual, expected)
    largest = max([drift, back])
    lost = [f"no {_label(names, label)} of score {score:.2f}" for label, score in missing]
    lost += [f"a new {_label(names, label)} of score {score:.2f}" for label, score in new]
    # One that is barely confident may have fallen below what counts as a detection at all, and one
    # that is barely on a full list may have been pushed off it.
    decided = any(
        score > max(CONFIDENT, float(answers["scores"].min())) + limits.undecided
        for answers, gone in ((actual, missing), (expected, new))
        for _, score in gone
    )
    what = ", ".join([*lost[:2], f"scores move by {largest:.3g}"])
    return Row(name, what, bool(lost) and decided, bool(lost) and not decided, largest, ious)


def _unmatched(
    expected: Answers, actual: Answers
) -> tuple[list[tuple[int, float]], tuple[float, ...], float]:
    """Confident detections without a counterpart, the overlaps of the rest, their largest drift."""
    scores, others = _floats(expected["scores"]), _floats(actual["scores"])
    labels, other_labels = expected["labels"], actual["labels"]
    free = np.ones(len(others), np.bool_)
    missing, ious, drift = [], [], 0.0
    for index in np.flatnonzero(scores >= CONFIDENT):
        overlap = _iou(_floats(expected["boxes"])[index], _floats(actual["boxes"]))
        overlap = np.where(free & (other_labels == labels[index]), overlap, -1.0)
        best = int(overlap.argmax())
        if overlap[best] < SAME_BOX_IOU:
            missing.append((int(labels[index]), float(scores[index])))
            continue
        free[best] = False
        ious.append(float(overlap[best]))
        drift = max(drift, abs(float(scores[index] - others[best])))
    return missing, tuple(ious), drift


def _iou(box: Floats, boxes: Floats) -> Floats:
    """Overlap of one box [4] with each of [n, 4], whichever corner comes first."""
    box, boxes = _ordered(box), _ordered(boxes)
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas - shared
    # Two boxes without an area are the same where they lie in the same place.
    same = (np.abs(boxes - box).max(axis=1) < _SAME_PLACE).astype(np.float64)
    ratio: Floats = np.divide(shared, union, out=same, where=union > 0)
    return ratio


def _ordered(boxes: Floats) -> Floats:
    corners = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(*corners), np.maximum(*corners)], axis=-1)


def _values(expected: Answers, actual: Answers, limits: Limits, name: str) -> Row:
    """Any other outputs: far apart is another answer, measured by the largest value's size."""
    drifts = {}
    for key, array in expected.items():
        left, right = _floats(array), _floats(actual[key])
        scale = max(1.0, float(np.abs(left).max(initial=0)))
        drifts[key] = float(np.abs(left - right).max(initial=0)) / scale
    key = max(drifts, key=lambda one: drifts[one])
    what = f"{key} moves by {drifts[key]:.3g} of its largest value"
    return Row(name, what, drifts[key] > limits.score, False, drifts[key])


def _label(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _floats(array: npt.NDArray[np.generic]) -> Floats:
    return array.astype(np.float64)
