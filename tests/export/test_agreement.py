"""When another precision gives the same answers, and when it does not."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.errors import VerificationError
from inferctl.export.agreement import (
    Agreement,
    Limits,
    check_agreement,
    compare_rows,
    fault,
    largest_move,
    summarise,
)
from inferctl.export.compare import Answers

LIMITS = Limits(score=0.2, undecided=0.1, mean_iou=0.9)
NAMES = ("cat", "dog", "owl")


# What fills a detector's list behind all that it found.
REST = (2, 0.01, 0.1)


def scores(*rows: list[float]) -> Answers:
    return {"scores": np.array(rows, np.float32)}


def detections(*found: tuple[int, float, float]) -> Answers:
    """One row of label, score and left edge; boxes are half as wide as the picture."""
    return {
        "labels": np.array([[label for label, _, _ in found]], np.int64),
        "scores": np.array([[score for _, score, _ in found]], np.float32),
        "boxes": np.array([[[left, 0, left + 0.5, 1] for _, _, left in found]], np.float32),
    }


def agree(expected: Answers, actual: Answers) -> Agreement:
    return summarise(compare_rows(expected, actual, LIMITS, "pictures", NAMES))


def test_the_same_top_label_is_the_same_answer() -> None:
    found = agree(scores([0.7, 0.2, 0.1]), scores([0.6, 0.3, 0.1]))
    assert (found.changed, found.undecided, found.drop) == (0, 0, 0.0)
    assert found.max_drift == pytest.approx(0.1)
    assert fault(found, LIMITS, 0) is None


def test_another_top_label_is_a_changed_answer_and_named() -> None:
    expected, actual = scores([1, 0, 0], [0.6, 0.4, 0]), scores([1, 0, 0], [0.45, 0.55, 0])
    found = agree(expected, actual)
    assert (found.changed, found.rows) == (1, 2)
    with pytest.raises(VerificationError, match=r"1 of 2 answers change \(50.0%, allowed are 1.0%"):
        check_agreement(found, LIMITS, 0.01, where="int8")
    assert found.worst.startswith("pictures, row 1: dog instead of cat")
    assert fault(found, LIMITS, 0.5) is None


def test_what_fp32_had_not_decided_is_counted_and_no_fault() -> None:
    found = agree(scores([0.52, 0.48, 0]), scores([0.47, 0.53, 0]))
    assert (found.changed, found.undecided) == (0, 1)
    assert "1 that fp32 had hardly decided" in found.sentence()
    assert fault(found, LIMITS, 0) is None


def test_a_score_that_moves_far_is_a_fault_though_its_label_stays() -> None:
    found = agree(scores([1, 0, 0]), scores([0.7, 0.3, 0]))
    assert fault(found, LIMITS, 1) == "a score moves by 0.3, allowed are 0.2"


def test_the_worst_row_is_a_changed_one_though_another_drifts_more() -> None:
    found = agree(scores([1, 0, 0], [0.6, 0.4, 0]), scores([0.6, 0.4, 0], [0.45, 0.55, 0]))
    assert "row 1" in found.worst


def test_detections_match_by_label_and_overlap_in_any_order() -> None:
    expected = detections((0, 0.9, 0.0), (1, 0.8, 0.5), (2, 0.1, 0.2))
    actual = detections((1, 0.85, 0.51), (0, 0.8, 0.0), (2, 0.05, 0.4))
    found = agree(expected, actual)
    assert (found.changed, found.detections) == (0, 2)
    assert found.mean_iou == pytest.approx((1 + 0.49 / 0.51) / 2, abs=1e-4)
    assert found.max_drift == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("actual", "text"),
    [
        (detections((1, 0.9, 0.0), REST), "no cat of score 0.90, a new dog of score 0.90"),
        (detections((0, 0.9, 0.45), REST), "no cat of score 0.90"),
        (detections((0, 0.9, 0.0), (0, 0.8, 0.01)), "a new cat of score 0.80"),
    ],
)
def test_a_detection_lost_or_new_changes_the_answer(actual: Answers, text: str) -> None:
    found = agree(detections((0, 0.9, 0.0), REST), actual)
    assert found.changed == 1
    assert text in found.worst


def test_a_detection_that_is_barely_one_may_come_and_go() -> None:
    found = agree(detections((0, 0.35, 0.0)), detections((1, 0.05, 0.0)))
    assert (found.changed, found.undecided) == (0, 1)


def test_what_a_full_list_cut_off_may_come_and_go() -> None:
    expected = detections((0, 0.9, 0.0), (1, 0.8, 0.0))
    found = agree(expected, detections((0, 0.9, 0.0), (2, 0.78, 0.3)))
    assert (found.changed, found.undecided) == (0, 1)


def test_boxes_whose_corners_are_swapped_or_that_have_no_area_match_themselves() -> None:
    swapped = detections((0, 0.9, 0.0))
    swapped["boxes"] = swapped["boxes"][..., [2, 3, 0, 1]]
    flat = detections((0, 0.9, 0.0))
    flat["boxes"] = flat["boxes"] * np.float32([1, 0, 1, 0])
    for answers in (swapped, flat):
        assert agree(answers, answers).mean_iou == 1


def test_boxes_that_overlap_too_little_are_a_fault() -> None:
    found = agree(detections((0, 0.9, 0.0)), detections((0, 0.9, 0.1)))
    assert found.changed == 0
    assert "boxes overlap by 0.667 on average" in str(fault(found, LIMITS, 0))


def test_other_outputs_are_measured_by_their_largest_value() -> None:
    found = agree({"y": np.array([[100.0, 0]])}, {"y": np.array([[100.0, 10]])})
    assert (found.changed, found.max_drift) == (0, 0.1)
    assert agree({"y": np.array([[1.0]])}, {"y": np.array([[2.0]])}).changed == 1


def test_a_move_to_nan_is_the_largest() -> None:
    assert largest_move(scores([0.5]), scores([0.25])) == 0.25
    assert largest_move(scores([0.5]), scores([float("nan")])) == float("inf")


def test_a_report_says_the_share_of_changed_answers() -> None:
    document = agree(scores([0.9, 0.1, 0]), scores([0.1, 0.9, 0])).document()
    assert (document["drop"], document["changed"], document["mean_iou"]) == (1.0, 1, None)
