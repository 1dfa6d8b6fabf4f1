"""The detection metrics agree with cases worked out by hand."""

import numpy as np
import pytest

from inferctl.demo.metrics import (
    Detections,
    Truth,
    average_precision,
    average_precisions,
    box_iou,
    match_detections,
)

UNIT = np.array([[0.0, 0.0, 2.0, 2.0]])
SHIFTED = np.array([[1.0, 0.0, 3.0, 2.0]])


def test_iou_of_half_shifted_squares_is_a_third() -> None:
    """Two 2 x 2 squares that share 2 of 6 area units."""
    assert box_iou(UNIT, SHIFTED) == pytest.approx(1 / 3)


def test_iou_of_touching_and_of_empty_boxes_is_zero() -> None:
    """No shared area and no area at all both give 0, not a division by zero."""
    assert box_iou(UNIT, UNIT + 2.0) == 0.0
    assert box_iou(UNIT * 0.0, UNIT * 0.0) == 0.0


def test_a_second_detection_of_one_object_is_a_miss() -> None:
    """The higher score takes the object, whatever the order of the rows."""
    boxes = np.concatenate([UNIT, UNIT])
    hits = match_detections(boxes, np.array([0.4, 0.9]), UNIT)
    assert hits.tolist() == [False, True]


def test_average_precision_by_hand() -> None:
    """Hit, miss, hit of 2 objects: half the recall at 1, half at 2/3."""
    hits = np.array([True, False, True])
    assert average_precision(np.array([0.9, 0.8, 0.7]), hits, 2) == pytest.approx(5 / 6)


def test_objects_never_found_lower_the_average() -> None:
    """One of four objects found gives a quarter."""
    assert average_precision(np.array([0.9]), np.array([True]), 4) == 0.25


def test_average_precision_without_objects_or_detections_is_zero() -> None:
    """Both empty cases are defined."""
    nothing = np.zeros(0)
    assert average_precision(nothing, nothing.astype(bool), 3) == 0.0
    assert average_precision(nothing, nothing.astype(bool), 0) == 0.0


def test_the_label_of_a_detection_has_to_match() -> None:
    """The right box with the wrong label finds nothing."""
    found = [Detections(UNIT, np.array([0.9]), np.array([1]))]
    truths = [Truth(UNIT, np.array([0]))]
    assert average_precisions(found, truths, classes=2) == [0.0, 0.0]


def test_perfect_detections_score_one() -> None:
    """Each object found once in its own image."""
    found = [Detections(UNIT, np.array([0.9]), np.array([0]))] * 2
    truths = [Truth(UNIT, np.array([0]))] * 2
    assert average_precisions(found, truths, classes=1) == [1.0]
