"""When an answer counts as right."""

from __future__ import annotations

from benchmarks.answers import is_right
from benchmarks.workloads import WORKLOADS

VISION, TEXT, INT8, MLP = (WORKLOADS[name] for name in ("vision", "text", "text-int8", "mlp"))


def test_a_score_may_be_rounded() -> None:
    assert is_right({"label": "class_3", "score": 0.1235}, label("class_3", 0.123456), VISION)
    assert not is_right({"label": "class_3", "score": 0.13}, label("class_3", 0.123456), VISION)


def test_another_label_is_wrong() -> None:
    assert not is_right(label("class_4", 0.5), label("class_3", 0.5), VISION)
    assert not is_right(label("positive", 0.6), label("negative", 0.6), TEXT)


def test_of_two_labels_a_tie_may_fall_either_way() -> None:
    assert is_right(label("positive", 0.5004), label("negative", 0.5004), TEXT)
    assert is_right(label("positive", 0.55), label("negative", 0.55), INT8)


def test_more_than_was_expected_does_not_matter() -> None:
    wanted = {"outputs": {"logits": [1.0, 2.0]}}

    assert is_right({"outputs": {"logits": [1.0, 2], "more": [0.0]}, "version": 3}, wanted, MLP)


def test_an_answer_of_another_form_is_wrong() -> None:
    wanted = {"outputs": {"logits": [1.0, 2.0]}}

    for answer in ({}, {"outputs": [1.0, 2.0]}, {"outputs": {"logits": [1.0]}}, {"detail": "no"}):
        assert not is_right(answer, wanted, MLP)


def label(name: str, score: float) -> dict[str, str | float]:
    return {"label": name, "score": score}
