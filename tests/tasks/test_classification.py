"""From a classifier's scores to the most likely labels."""

from __future__ import annotations

import math

import numpy as np
import orjson
import pytest

from inferctl.refusals import RowFailed
from inferctl.tasks.classification import ClassificationOptions
from inferctl.tasks.images import ImageContext

from .tinybundles import classifier, task_of, timed

TASK = task_of(classifier())
SCORES = {"scores": np.array([[0.2, 0.7, 0.1]], np.float32)}


def context(top_k: int = 5) -> ImageContext:
    return ImageContext(ClassificationOptions(top_k=top_k), 20, 10)


def test_the_best_label_leads_and_the_others_follow() -> None:
    assert TASK.postprocess(context(), SCORES) == {
        "label": "dog",
        "score": 0.7,
        "predictions": [
            {"label": "dog", "score": 0.7},
            {"label": "cat", "score": 0.2},
            {"label": "owl", "score": 0.1},
        ],
    }


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
def test_top_k_bounds_the_predictions(top_k: int, count: int) -> None:
    answer = TASK.postprocess(context(top_k), SCORES)
    assert len(answer["predictions"]) == count
    assert answer["label"] == "dog"


@pytest.mark.parametrize("top_k", [1, 3])
def test_an_answer_fits_its_own_schema(top_k: int) -> None:
    answer = timed(TASK.postprocess(context(top_k), SCORES))
    model = TASK.answer.model_validate_json(orjson.dumps(answer), strict=True)
    assert model.model_dump(mode="json") == answer


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_score_that_is_no_number_fails_the_row(place: int) -> None:
    scores = SCORES["scores"].copy()
    scores[0, place] = math.nan
    with pytest.raises(RowFailed):
        TASK.postprocess(context(1), {"scores": scores})
