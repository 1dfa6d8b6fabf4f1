"""One model's slots, rows and description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inferctl.errors import Overloaded
from inferctl.tasks.base import Prepared
from tests.tasks.tinybundles import (
    LABELS,
    MAX_TOKENS,
    classifier,
    detector,
    reader,
    write_tokenizer,
)

from .wiring import WORKER, few_slots, make_ledger, make_models


def test_slots_are_handed_out_once_each() -> None:
    (model,) = make_models(classifier(), slots=3)
    assert sorted(model.admit() for _ in range(3)) == [0, 1, 2]
    with pytest.raises(Overloaded) as caught:
        model.admit()
    assert caught.value.retry_after_s == 1
    model.give_back(1)
    assert model.admit() == 1


def test_the_slots_in_use_are_counted() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    in_flight = ledger.blocks[WORKER].cell("inferctl_in_flight", "animals")
    slots = [model.admit() for _ in range(3)]
    assert in_flight.get() == 3
    model.give_back(slots[0])
    assert in_flight.get() == 2


def test_an_image_is_written_into_its_slot_alone() -> None:
    (model,) = make_models(classifier(height=2, width=3))
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    model.arena.cancelled[5] = 1
    model.write(5, Prepared({"image": pixels}, 1, None), deadline_s=123.5)
    assert np.array_equal(model.arena.inputs["image"][5], pixels)
    assert not model.arena.inputs["image"][[0, 1, 2, 3, 4, 6, 7]].any()
    assert (model.arena.deadline_s[5], model.arena.tokens[5]) == (123.5, 1)
    assert model.arena.cancelled[5] == 0


def test_a_short_text_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    manifest = reader()
    text = manifest.text
    assert text is not None
    manifest = manifest.model_copy(update={"text": text.model_copy(update={"pad_id": 7})})
    (model,) = make_models(manifest, bundle=write_tokenizer(tmp_path, "good"))
    for words in (20, 1):
        model.write(0, model.task.preprocess(" ".join(["good"] * words)), 0)
    inputs = model.arena.inputs
    assert inputs["input_ids"][0].tolist() == [2, 4, 3] + [7] * (MAX_TOKENS - 3)
    assert inputs["attention_mask"][0].tolist() == [1, 1, 1] + [0] * (MAX_TOKENS - 3)
    assert not inputs["token_type_ids"][0].any()
    assert model.arena.tokens[0] == 3


def test_outputs_are_read_from_the_slot_in_place() -> None:
    (model,) = make_models(detector())
    model.arena.outputs["scores"][4] = 0.5
    outputs = model.outputs(4)
    assert {name: array.shape for name, array in outputs.items()} == {
        "boxes": (4, 4),
        "scores": (4,),
        "labels": (4,),
    }
    assert outputs["scores"].tolist() == [0.5] * 4
    assert not model.outputs(3)["scores"].any()


def test_a_model_describes_itself() -> None:
    (model,) = make_models(classifier(), settings=few_slots(max_pixels=99))
    described = model.describe().model_dump(mode="json")
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


def test_the_gate_is_as_wide_as_the_settings_say() -> None:
    (model,) = make_models(classifier(), settings=few_slots(max_concurrent=1))
    assert not model.gate.locked()
    assert model.gate._value == 1
