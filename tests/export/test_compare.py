"""When two answers are the same, and what is said when they are not."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.errors import VerificationError
from inferctl.export.compare import Answers, Tolerance, check_answers, compare

TOLERANCE = Tolerance(1e-4, 1e-3)


def scores(*rows: list[float]) -> Answers:
    return {"scores": np.array(rows, np.float32)}


def detections(values: list[float], labels: list[int], shift: float = 0.0) -> Answers:
    count = len(values)
    boxes = np.linspace(0, 1, count * 4).reshape(1, count, 4) + shift
    return {
        "boxes": boxes.astype(np.float32),
        "scores": np.array([values], np.float32),
        "labels": np.array([labels], np.int64),
    }


def reorder(answers: Answers, order: list[int]) -> Answers:
    """The same detections in another order, with the scores where they were."""
    swapped = {name: array[:, order] for name, array in answers.items()}
    return {**swapped, "scores": answers["scores"]}


def test_equal_scores_are_equal() -> None:
    found = compare(scores([0.2, 0.8]), scores([0.2, 0.80001]), TOLERANCE, where="s")
    assert (found.same_top, found.compared) == (1, 1)
    assert 0 < found.max_abs < 2e-5


def test_a_difference_names_the_output_and_its_size() -> None:
    with pytest.raises(VerificationError, match=r"scores differ by 0.1 at most, in row 1.*\(s\)"):
        compare(
            scores([0.2, 0.8], [0.2, 0.8]), scores([0.2, 0.8], [0.3, 0.7]), TOLERANCE, where="s"
        )


def test_another_top_label_is_refused_inside_the_tolerance() -> None:
    with pytest.raises(VerificationError, match="the top label of row 0 is 1, not 0"):
        compare(scores([0.50004, 0.49996]), scores([0.49996, 0.50004]), TOLERANCE, where="s")


def test_a_tie_has_no_top_label() -> None:
    compare(scores([0.5, 0.5]), scores([0.4999999, 0.5000001]), TOLERANCE, where="s")


def test_another_shape_is_refused() -> None:
    with pytest.raises(VerificationError, match=r"scores has shape \[1, 2\], not \[1, 1\]"):
        compare(scores([1.0]), scores([0.5, 0.5]), TOLERANCE, where="s")


def test_detections_whose_scores_tie_may_swap() -> None:
    expected = detections([0.9, 0.5, 0.5, 0.1], [0, 1, 2, 0])
    found = compare(expected, reorder(expected, [0, 2, 1, 3]), TOLERANCE, where="s")
    assert found.compared == 4


def test_detections_well_apart_may_not_swap() -> None:
    expected = detections([0.9, 0.5, 0.4, 0.1], [0, 1, 1, 0])
    with pytest.raises(VerificationError, match="boxes of row 0, detection 1 differ"):
        compare(expected, reorder(expected, [0, 2, 1, 3]), TOLERANCE, where="s")


def test_another_label_is_refused() -> None:
    with pytest.raises(VerificationError, match="the label of row 0, detection 1 is 2, not 1"):
        compare(
            detections([0.9, 0.5, 0.1], [0, 1, 0]),
            detections([0.9, 0.5, 0.1], [0, 2, 0]),
            TOLERANCE,
            where="s",
        )


def test_a_tie_at_the_cut_off_is_not_compared() -> None:
    expected = detections([0.9, 0.0, 0.0], [0, 1, 1])
    found = compare(expected, detections([0.9, 0.0, 0.0], [0, 2, 2]), TOLERANCE, where="s")
    assert found.compared == 1


def test_a_detector_without_detections_compares_nothing() -> None:
    found = compare(detections([], []), detections([], []), TOLERANCE, where="s")
    assert (found.compared, found.max_abs) == (0, 0.0)


@pytest.mark.row(182)
@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (scores([0.5, 0.5], [0.5, 0.5]), "scores has 2 rows for 1"),
        (scores([np.nan, 0.5]), "scores holds NaN"),
        (detections([0.5, 0.9], [0, 1]), "scores do not descend"),
        (detections([0.9], [3]), "labels reach from 3 to 3, and 3 are named"),
        (detections([0.9], [-1]), "labels reach from -1"),
        (detections([0.9], [0], shift=300.0), r"boxes reach 301"),
    ],
)
def test_answers_that_break_the_contract_are_refused(answers: Answers, text: str) -> None:
    with pytest.raises(VerificationError, match=text):
        check_answers(answers, 1, 3, where="s")
