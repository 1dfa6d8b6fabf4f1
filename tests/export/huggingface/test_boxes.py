"""The detections chosen of a detector's queries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inferctl.export.huggingface.boxes import BestPairs, BestQueries, Choice, corners

BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.2, 0.2, 0.4], [0.5, 0.5, 1.0, 1.0]]])


def logits(*scores: tuple[float, ...]) -> Tensor:
    return torch.tensor([scores]).log()


def test_a_box_becomes_its_corners() -> None:
    expected = torch.tensor([[[0.4, 0.3, 0.6, 0.7], [0.0, 0.0, 0.2, 0.4], [0.0, 0.0, 1.0, 1.0]]])
    torch.testing.assert_close(corners(BOXES), expected)


def test_a_query_has_its_likeliest_class_and_that_is_never_no_object() -> None:
    scores = logits((0.1, 0.2, 0.7), (0.6, 0.1, 0.3), (0.3, 0.5, 0.2))
    boxes, best, labels = BestQueries(queries=3, classes=2, most=2)(scores, BOXES)
    torch.testing.assert_close(best, torch.tensor([[0.6, 0.5]]))
    assert labels.tolist() == [[0, 1]]
    torch.testing.assert_close(boxes, corners(BOXES[:, [1, 2]]))


def test_a_pair_of_query_and_class_is_a_detection_of_its_own() -> None:
    scores = torch.tensor([[[0.9, 0.2], [0.1, 0.3], [0.8, 0.7]]]).logit()
    boxes, best, labels = BestPairs(queries=3, classes=2, most=4)(scores, BOXES)
    torch.testing.assert_close(best, torch.tensor([[0.9, 0.8, 0.7, 0.3]]))
    assert labels.tolist() == [[0, 0, 1, 1]]
    torch.testing.assert_close(boxes, corners(BOXES[:, [0, 2, 2, 1]]))


@pytest.mark.parametrize(
    ("choice", "k"),
    [
        (BestQueries(300, 80, 100), 100),
        (BestQueries(30, 80, 100), 30),
        (BestPairs(300, 80, 100), 100),
        (BestPairs(30, 2, 100), 60),
    ],
)
def test_no_more_are_chosen_than_there_are(choice: Choice, k: int) -> None:
    assert choice.k == k
