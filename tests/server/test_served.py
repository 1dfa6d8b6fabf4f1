"""One model's slots, rows and description."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from inferctl.arena.ledger import Ledger
from inferctl.errors import Overloaded, TooLarge
from inferctl.server import served
from inferctl.tasks.base import Prepared
from tests.tasks.tinybundles import (
    MAX_TOKENS,
    classifier,
    detector,
    numbers,
    reader,
    write_tokenizer,
)

from .wiring import SLOTS, WORKER, few_slots, hold, make_ledger, make_models


def test_slots_are_handed_out_once_each() -> None:
    (model,) = make_models(classifier(), slots=3)
    assert sorted(hold(model, 1) + hold(model, 2)) == [0, 1, 2]
    with pytest.raises(Overloaded, match="queue is full") as caught:
        hold(model, 1)
    assert caught.value.retry_after_s == 1
    model.give_back(1)
    assert hold(model, 1) == [1]


def test_rows_that_do_not_all_fit_get_no_slot() -> None:
    (model,) = make_models(classifier(), slots=3)
    (held,) = hold(model, 1)
    with pytest.raises(Overloaded):
        hold(model, 3)
    model.give_back(held)
    assert len(hold(model, 3)) == 3


@pytest.mark.parametrize(("rows", "held"), [(4, 0), (3, 1), (1, 3)])
def test_more_rows_than_can_ever_fit_are_too_large(rows: int, held: int) -> None:
    (model,) = make_models(classifier(), slots=3)
    with pytest.raises(TooLarge, match="more than 3 rows"):
        hold(model, rows, held=held)
    assert len(hold(model, 3)) == 3


def test_the_slots_in_use_are_counted() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    in_flight = ledger.blocks[WORKER].cell("inferctl_in_flight", 0)
    slots = hold(model, 3)
    assert in_flight.get() == 3
    model.give_back(slots[0])
    assert in_flight.get() == 2


@pytest.mark.parametrize(("theirs", "mine"), [(0, 8), (3, 5), (4, 4), (5, 4), (8, 4)])
def test_a_worker_has_its_share_of_the_queue_and_what_the_others_leave(
    theirs: int, mine: int
) -> None:
    ledger = make_ledger("animals", workers=2)
    (model,) = make_models(classifier(), ledger=ledger, slots=8, workers=2)
    ledger.blocks[WORKER + 1].cell("inferctl_in_flight", 0).set(theirs)
    slots = [hold(model, 1) for _ in range(mine)]
    assert len({slot for (slot,) in slots}) == mine
    with pytest.raises(Overloaded, match="queue is full"):
        hold(model, 1)


@pytest.fixture
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.random, "uniform", lambda *_: 1.0)


@pytest.mark.usefixtures("no_spread")
@pytest.mark.parametrize(("row_s", "retry_after_s"), [(2.0, 10), (1.3, 7), (1.01, 6)])
def test_a_row_that_would_be_run_too_late_is_refused_until_those_before_it_are_run(
    row_s: float, retry_after_s: int
) -> None:
    """Five rows wait, two of them another worker's."""
    ledger = make_ledger("animals", workers=2)
    (model,) = make_models(classifier(), ledger=ledger)
    hold(model, 3)
    ledger.blocks[WORKER + 1].cell("inferctl_in_flight", 0).set(2)
    ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0).set(row_s)
    with pytest.raises(Overloaded, match="too long for the deadline") as caught:
        hold(model, 1, time.monotonic() + 5)
    assert caught.value.retry_after_s == retry_after_s
    assert len(hold(model, 1, time.monotonic() + 60)) == 1, "it has more time"


def test_without_rows_before_it_a_row_is_taken_however_slow_the_model_is() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0).set(1e6)
    assert len(hold(model, 1, time.monotonic() + 5)) == 1


@pytest.mark.usefixtures("no_spread")
def test_a_full_queue_says_how_long_it_takes() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    hold(model, SLOTS)
    ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0).set(0.5)
    with pytest.raises(Overloaded, match="queue is full") as caught:
        hold(model, 1)
    assert caught.value.retry_after_s == SLOTS * 0.5


def test_refused_clients_do_not_all_come_back_at_once() -> None:
    ledger = make_ledger("animals")
    (model,) = make_models(classifier(), ledger=ledger)
    hold(model, SLOTS)
    ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0).set(100.0)
    told = set()
    for _ in range(100):
        with pytest.raises(Overloaded) as caught:
            hold(model, 1)
        told.add(caught.value.retry_after_s)
    assert len(told) > 10
    assert 600 <= min(told) < max(told) <= 1000


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
    assert model.times([0]) == (4, 1)
    assert model.times([0, 1, 2]) == (2, 6)


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
