"""From a detector's outputs to boxes in the image as sent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest

from inferctl.bundles.manifest import ImageInput
from inferctl.refusals import RowFailed
from inferctl.tasks.detection import DetectionOptions
from inferctl.tasks.images import ImageContext

from .tinybundles import detector, task_of, timed

TASK = task_of(detector())
LETTERBOX = ImageInput(height=80, width=80, resize="letterbox", pad=114)
LETTERBOXED = task_of(detector(80, 80, image=LETTERBOX))


def context(threshold: float = 0.5, width: int = 200, height: int = 100) -> ImageContext:
    return ImageContext(DetectionOptions(confidence_threshold=threshold), width, height)


def outputs(scores: tuple[float, ...] = (0.9, 0.6, 0.3, 0.1)) -> dict[str, Any]:
    boxes = [(0.1, 0.2, 0.5, 1.0), (0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75), (0, 0, 0, 0)]
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "labels": np.array([[2, 0, 1, 1]], np.int64),
    }


def test_boxes_are_scaled_to_the_image_as_sent() -> None:
    assert TASK.postprocess(context(), outputs()) == {
        "detections": [
            {"label": "owl", "confidence": 0.9, "bbox": [20.0, 20.0, 100.0, 100.0]},
            {"label": "cat", "confidence": 0.6, "bbox": [0.0, 0.0, 200.0, 100.0]},
        ]
    }


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0.0, 4), (0.1, 4), (0.3, 3), (0.31, 2), (0.95, 0), (1.0, 0)]
)
def test_boxes_below_the_threshold_are_left_out(threshold: float, kept: int) -> None:
    answer = TASK.postprocess(context(threshold), outputs((0.9, 0.6, 0.3, 0.11)))
    assert len(answer["detections"]) == kept


@pytest.mark.parametrize(("most", "kept"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
def test_no_more_boxes_are_given_than_wanted(most: int, kept: int) -> None:
    options = DetectionOptions(confidence_threshold=0.2, max_detections=most)
    detections = TASK.postprocess(ImageContext(options, 200, 100), outputs())["detections"]
    assert [box["confidence"] for box in detections] == [0.9, 0.6, 0.3][:kept]


def test_slots_that_hold_nothing_are_left_out_by_any_threshold() -> None:
    assert len(TASK.postprocess(context(0), outputs((0.9, 0.2, 0, 0)))["detections"]) == 2


def test_a_box_at_the_threshold_is_kept() -> None:
    answer = TASK.postprocess(context(0.5), outputs((0.75, 0.5, 0.25, 0)))
    assert [box["confidence"] for box in answer["detections"]] == [0.75, 0.5]


def test_the_most_confident_box_comes_first() -> None:
    detections = TASK.postprocess(context(0), outputs())["detections"]
    confidences = [box["confidence"] for box in detections]
    assert confidences == sorted(confidences, reverse=True)
    assert [box["label"] for box in detections] == ["owl", "cat", "dog", "dog"]


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_an_answer_fits_its_own_schema(threshold: float) -> None:
    answer = timed(TASK.postprocess(context(threshold), outputs()))
    model = TASK.answer.model_validate_json(orjson.dumps(answer), strict=True)
    assert model.model_dump(mode="json") == answer


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_score_that_is_no_number_fails_the_row(threshold: float) -> None:
    with pytest.raises(RowFailed):
        TASK.postprocess(context(threshold), outputs((math.nan, 0.1, 0.1, 0.1)))


def test_a_box_that_is_no_number_fails_the_row() -> None:
    damaged = outputs()
    damaged["boxes"][0, 0, 3] = math.inf
    with pytest.raises(RowFailed):
        TASK.postprocess(context(), damaged)


def test_only_a_label_of_the_model_is_in_the_schema() -> None:
    schema = TASK.answer.model_json_schema()
    detection = schema["$defs"]["ShapesDetection"]["properties"]
    assert detection["label"]["enum"] == ["cat", "dog", "owl"]
    assert (detection["confidence"]["minimum"], detection["confidence"]["maximum"]) == (0, 1)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_does_not_exist_fails_the_row(label: int) -> None:
    wrong = outputs()
    wrong["labels"][0, 0] = label
    with pytest.raises(RowFailed, match="a label that the model does not have"):
        TASK.postprocess(context(), wrong)


@pytest.mark.parametrize(
    ("width", "height", "inside", "expected"),
    [
        # 160 x 80 lies in 80 x 80 as 80 x 40, below 20 lines of the border.
        (160, 80, (0.25, 0.5, 0.75, 0.75), (40, 40, 120, 80)),
        (80, 160, (0.5, 0.25, 0.75, 0.75), (40, 40, 80, 120)),
        (40, 40, (0.25, 0.25, 0.5, 1), (10, 10, 20, 40)),
    ],
)
def test_boxes_of_a_letterboxed_image_are_those_of_the_image_as_sent(
    width: int, height: int, inside: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = outputs()
    found["boxes"][0, 0] = inside
    first = LETTERBOXED.postprocess(context(0.7, width, height), found)["detections"]
    assert [box["bbox"] for box in first] == [list(expected)]


def test_what_is_found_in_the_border_ends_at_the_image_s_edge() -> None:
    found = outputs()
    found["boxes"][0, :2] = [(-0.1, 0.1, 0.5, 0.5), (0.5, 0.5, 1.1, 0.9)]
    boxes = LETTERBOXED.postprocess(context(0.5, 160, 80), found)["detections"]
    assert [box["bbox"] for box in boxes] == [[0, 0, 80, 40], [80, 40, 160, 80]]


def test_a_letterboxed_box_that_is_no_number_fails_the_row() -> None:
    damaged = outputs()
    damaged["boxes"][0, 0, 3] = math.inf
    with pytest.raises(RowFailed):
        LETTERBOXED.postprocess(context(), damaged)
