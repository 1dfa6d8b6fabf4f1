"""Decides whether two runs of a model gave the same answer; knows arrays, not runtimes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inferctl.errors import VerificationError

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Answers = dict[str, Array]

# Two scores nearer than this differ by rounding alone; either may come first.
ROUNDING = 1e-6
# Boxes are in 0..1 and may reach over the edge; pixels cannot be mistaken for that.
_LARGEST_COORDINATE = 10.0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|actual - expected| may reach `atol + rtol * |expected|`."""

    atol: float
    rtol: float

    def bound(self, expected: Floats) -> Floats:
        """The largest difference allowed, element by element."""
        return self.atol + self.rtol * np.abs(expected)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two answers lie apart; `compared` counts rows, for detectors detections."""

    max_abs: float
    max_rel: float
    same_top: int
    compared: int


def check_answers(answers: Answers, rows: int, labels: int, *, where: str) -> None:
    """Check that an answer keeps its task's contract: row count, finite, ordered, known labels.

    Raises VerificationError naming the output.
    """
    for name, array in answers.items():
        if len(array) != rows:
            raise VerificationError(f"{name} has {len(array)} rows for {rows}", where=where)
        if not np.isfinite(array.astype(np.float64)).all():
            raise VerificationError(f"{name} holds NaN or infinity", where=where)
    if "boxes" not in answers:
        return
    largest = float(np.abs(_floats(answers["boxes"])).max(initial=0))
    if largest > _LARGEST_COORDINATE:
        raise VerificationError(
            f"boxes reach {largest:.4g}, and they must be in 0..1 of the model's input",
            where=where,
            hint="divide them by the input's width and height in the model",
        )
    if (np.diff(_floats(answers["scores"]), axis=1) > ROUNDING).any():
        raise VerificationError("scores do not descend", where=where, hint="sort the detections")
    numbers = answers["labels"].astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < labels:
        raise VerificationError(
            f"labels reach from {numbers.min()} to {numbers.max()}, and {labels} are named",
            where=where,
            hint="correct --labels, or number them from 0 in the model",
        )


def compare(expected: Answers, actual: Answers, tolerance: Tolerance, *, where: str) -> Difference:
    """Compare two answers to the same rows.

    Raises VerificationError naming the output and the largest difference.
    """
    for name, array in expected.items():
        if actual[name].shape != array.shape:
            raise VerificationError(
                f"{name} has shape {list(actual[name].shape)}, not {list(array.shape)}", where=where
            )
    if "boxes" in expected:
        return _compare_detections(expected, actual, tolerance, where)
    if set(expected) == {"scores"} and expected["scores"].ndim == 2:
        scores = _floats(expected["scores"]), _floats(actual["scores"])
        return _compare_scores(*scores, tolerance, where)
    return _compare_values(expected, actual, tolerance, where)


def _compare_values(
    expected: Answers, actual: Answers, tolerance: Tolerance, where: str
) -> Difference:
    """Outputs of which nothing is known."""
    differences = []
    for name, array in expected.items():
        left, right = _floats(array), _floats(actual[name])
        _check_close(name, left, right, tolerance, where)
        differences.append(_difference(left, right, 0, len(left)))
    return Difference(
        max(one.max_abs for one in differences),
        max(one.max_rel for one in differences),
        0,
        differences[0].compared,
    )


def _compare_scores(
    expected: Floats, actual: Floats, tolerance: Tolerance, where: str
) -> Difference:
    _check_close("scores", expected, actual, tolerance, where)
    top, other = expected.argmax(axis=1), actual.argmax(axis=1)
    rows = np.arange(len(expected))
    # Far inside the tolerance, a thousand classes can still change places.
    changed = expected[rows, top] - expected[rows, other] > ROUNDING
    if changed.any():
        row = int(np.flatnonzero(changed)[0])
        raise VerificationError(
            f"the top label of row {row} is {other[row]}, not {top[row]} "
            f"(largest difference of scores {np.abs(expected - actual).max():.3g})",
            where=where,
        )
    return _difference(expected, actual, int((top == other).sum()), len(expected))


def _compare_detections(
    expected: Answers, actual: Answers, tolerance: Tolerance, where: str
) -> Difference:
    scores, others = _floats(expected["scores"]), _floats(actual["scores"])
    _check_close("scores", scores, others, tolerance, where)
    # Detections may have swapped only if their scores lie nearer than the scores moved.
    apart = 2 * float(np.abs(scores - others).max(initial=0)) + ROUNDING
    pairs: list[tuple[int, int, int]] = []
    for row in range(len(scores)):
        for group, is_last in _groups(scores[row], apart):
            found = _pair(expected, actual, row, group, tolerance)
            # At the end of the list, a tie may have let in what the other run cut off.
            may_differ = is_last and (len(group) > 1 or group[0] > 0)
            if found is None and not may_differ:
                raise _detection_error(expected, actual, row, group, where)
            pairs += [(row, left, right) for left, right in found or ()]
    row_index, left, right = np.array(pairs, np.int64).reshape(-1, 3).T
    boxes = _floats(expected["boxes"])[row_index, left], _floats(actual["boxes"])[row_index, right]
    apart_boxes = _difference(*boxes, 0, 0)
    apart_scores = _difference(scores, others, 0, 0)
    return Difference(
        max(apart_boxes.max_abs, apart_scores.max_abs),
        max(apart_boxes.max_rel, apart_scores.max_rel),
        len(pairs),
        len(pairs),
    )


def _groups(scores: Floats, apart: float) -> list[tuple[range, bool]]:
    """Runs of detections whose scores cannot be told apart, and whether it is the last run."""
    count = len(scores)
    starts = [0, *(i for i in range(1, count) if scores[i - 1] - scores[i] > apart)]
    ends = [*starts[1:], count]
    return [(range(a, b), b == count) for a, b in zip(starts, ends, strict=True) if b > a]


def _pair(
    expected: Answers, actual: Answers, row: int, group: range, tolerance: Tolerance
) -> list[tuple[int, int]] | None:
    """Match the detections of a group one to one by label and box; None when one has no match."""
    boxes, others = _floats(expected["boxes"])[row], _floats(actual["boxes"])[row]
    labels, other_labels = expected["labels"][row], actual["labels"][row]
    free = list(group)
    pairs = []
    for left in group:
        bound = tolerance.bound(boxes[left])
        for right in free:
            same_label = bool(labels[left] == other_labels[right])
            if same_label and (np.abs(boxes[left] - others[right]) <= bound).all():
                pairs.append((left, right))
                free.remove(right)
                break
        else:
            return None
    return pairs


def _detection_error(
    expected: Answers, actual: Answers, row: int, group: range, where: str
) -> VerificationError:
    at = group[0]
    labels = expected["labels"][row, at], actual["labels"][row, at]
    if labels[0] != labels[1]:
        what = f"the label of row {row}, detection {at} is {labels[1]}, not {labels[0]}"
    else:
        left, right = _floats(expected["boxes"])[row, group], _floats(actual["boxes"])[row, group]
        what = f"boxes of row {row}, detection {at} differ by {np.abs(left - right).max():.3g}"
    return VerificationError(what, where=where)


def _check_close(
    name: str, expected: Floats, actual: Floats, tolerance: Tolerance, where: str
) -> None:
    differences = np.abs(expected - actual)
    if (differences > tolerance.bound(expected)).any():
        row = int(np.argmax(differences.reshape(len(differences), -1).max(axis=1)))
        raise VerificationError(
            f"{name} differ by {differences.max():.3g} at most, in row {row}; "
            f"allowed are {tolerance.atol:g} + {tolerance.rtol:g} of the value",
            where=where,
        )


def _difference(expected: Floats, actual: Floats, same_top: int, compared: int) -> Difference:
    differences = np.abs(expected - actual)
    relative = differences / np.maximum(np.abs(expected), ROUNDING)
    return Difference(
        float(differences.max(initial=0)), float(relative.max(initial=0)), same_top, compared
    )


def _floats(array: Array) -> Floats:
    return array.astype(np.float64)
