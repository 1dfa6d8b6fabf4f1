"""What clients are told of a model."""

from __future__ import annotations

from tests.tasks.tinybundles import LABELS, classifier

from .wiring import few_slots, make_models


def test_a_model_describes_itself() -> None:
    (model,) = make_models(classifier(), settings=few_slots(max_pixels=99))
    described = model.offer.describe().model_dump(mode="json")
    assert (described["name"], described["version"]) == ("animals", 3)
    assert described["task"] == "image-classification"
    assert described["labels"] == list(LABELS)
    assert described["inputs"] == [{"name": "image", "dtype": "uint8", "shape": ["rows", 8, 8, 3]}]
    assert described["outputs"] == [{"name": "scores", "dtype": "float32", "shape": ["rows", 3]}]
    assert described["limits"]["max_pixels"] == 99
    assert described["content_types"] == [
        "application/json", "image/jpeg", "image/png", "image/webp",
    ]  # fmt: skip
    assert described["example"] == model.task.example()
