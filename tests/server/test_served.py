"""One model's slots, rows and description."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inferctl.tasks.base import Prepared
from tests.tasks.tinybundles import (
    MAX_TOKENS,
    classifier,
    detector,
    numbers,
    reader,
    write_tokenizer,
)

from .wiring import WORKER, few_slots, hold, make_ledger, make_models


def test_the_slots_in_use_are_counted() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    in_flight = ledger.blocks[WORKER].cell("inferctl_in_flight", 0)
    slots = hold(model, 3)
    assert in_flight.get() == 3
    model.give_back(slots[0])
    assert in_flight.get() == 2


def test_bulk_rows_in_flight_are_counted_from_their_writing_on() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(numbers(), ledger=ledger)
    in_flight = ledger.blocks[WORKER].cell("inferctl_bulk_in_flight", 0)
    prepared = Prepared({"input": np.zeros((2, 4), np.float32)}, 1, None, rows=2)
    (first, second), others = hold(model, 2), hold(model, 2)
    model.write([first, second], prepared, deadline_s=7.5, bulk=True)
    model.write(others, prepared, deadline_s=7.5, bulk=False)
    assert in_flight.get() == 2
    model.give_back(others[0])
    model.give_back(first)
    assert in_flight.get() == 1
    model.write(hold(model, 2), prepared, deadline_s=7.5, bulk=False)
    model.give_back(second)
    assert in_flight.get() == 0


def test_an_image_is_written_into_its_slot_alone() -> None:
    (model,) = make_models(classifier(height=2, width=3))
    pixels = np.arange(18, dtype=np.uint8).reshape(1, 2, 3, 3)
    model.arena.cancelled[5] = 1
    model.write([5], Prepared({"image": pixels}, 1, None), deadline_s=123.5, bulk=True)
    assert np.array_equal(model.arena.inputs["image"][5], pixels[0])
    assert not model.arena.inputs["image"][[0, 1, 2, 3, 4, 6, 7]].any()
    assert (model.arena.deadline_s[5], model.arena.tokens[5]) == (123.5, 1)
    assert model.arena.cancelled[5] == 0


def test_rows_are_written_each_into_its_slot_and_read_in_their_order() -> None:
    (model,) = make_models(numbers())
    slots = [6, 1, 4]
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    model.write(slots, Prepared({"input": rows}, 1, None, rows=3), deadline_s=7.5, bulk=False)
    arena = model.arena
    assert arena.inputs["input"][slots].tolist() == rows.tolist()
    assert not arena.inputs["input"][[0, 2, 3, 5, 7]].any()
    assert arena.deadline_s[slots].tolist() == [7.5] * 3
    for slot in slots:
        arena.outputs["logits"][slot] = slot
    assert model.outputs(slots)["logits"][:, 0].tolist() == slots


def test_the_times_of_many_rows_are_from_the_first_run_to_the_last() -> None:
    (model,) = make_models(numbers())
    for slot, (submitted_s, started_s, finished_s) in enumerate(((1, 5, 6), (1, 3, 4), (1, 4, 9))):
        model.arena.submitted_s[slot] = submitted_s
        model.arena.started_s[slot] = started_s
        model.arena.finished_s[slot] = finished_s
    model.arena.batch_rows[:3] = (1, 4, 2)
    assert model.times([0]) == (4, 1, 1)
    assert model.times([0, 1, 2]) == (2, 6, 4)


def test_a_short_text_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    manifest = reader()
    text = manifest.text
    assert text is not None
    manifest = manifest.model_copy(update={"text": text.model_copy(update={"pad_id": 7})})
    (model,) = make_models(manifest, bundle=write_tokenizer(tmp_path, "good"))
    for words in (20, 1):
        model.write([0], model.task.preprocess(" ".join(["good"] * words)), 0, bulk=False)
    inputs = model.arena.inputs
    assert inputs["input_ids"][0].tolist() == [2, 4, 3] + [7] * (MAX_TOKENS - 3)
    assert inputs["attention_mask"][0].tolist() == [1, 1, 1] + [0] * (MAX_TOKENS - 3)
    assert not inputs["token_type_ids"][0].any()
    assert model.arena.tokens[0] == 3


def test_the_outputs_of_one_row_are_read_from_its_slot_in_place() -> None:
    (model,) = make_models(detector())
    outputs = model.outputs([4])
    assert {name: array.shape for name, array in outputs.items()} == {
        "boxes": (1, 4, 4),
        "scores": (1, 4),
        "labels": (1, 4),
    }
    model.arena.outputs["scores"][4] = 0.5
    assert outputs["scores"].tolist() == [[0.5] * 4]
    assert not model.outputs([3])["scores"].any()


def test_the_gate_is_as_wide_as_the_settings_say() -> None:
    (model,) = make_models(classifier(), settings=few_slots(max_concurrent=2))
    assert [model.gate.enter(lambda: None) for _ in range(3)] == [True, True, False]


def test_a_version_has_left_with_its_last_request_and_row() -> None:
    (model,) = make_models(classifier())
    left: list[bool] = []
    model.requests = 1
    (slot,) = hold(model, 1)
    model.leave(lambda: left.append(True))
    model.requests = 0
    model.look()
    assert not left, "a row is on its way"
    model.give_back(slot)
    model.look()
    model.look()
    assert left == [True]


def test_a_version_that_nobody_asks_leaves_at_once() -> None:
    (model,) = make_models(classifier())
    left: list[bool] = []
    model.leave(lambda: left.append(True))
    assert left == [True]
