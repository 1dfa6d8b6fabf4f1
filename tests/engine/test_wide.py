"""The wide session: for which models it is worth loading, and when it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from inferctl.engine.instance import Instance
from inferctl.engine.model import Model
from inferctl.engine.warmup import widen
from inferctl.engine.wide import RETRY_EVERY, WORTH_WIDENING_S, Wide, worth_widening
from inferctl.settings import RuntimeSettings

from .fakes import warmed
from .loaded import load_images, load_texts

CPU = RuntimeSettings(device="cpu")
INSTANCE = object()
LONG = warmed(1, 2 * WORTH_WIDENING_S)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_images(tmp_path)[0]


def test_a_long_run_on_one_of_several_cores_is_worth_it(model: Model) -> None:
    assert worth_widening(model, CPU, 2, LONG)


@pytest.mark.parametrize(
    ("runtime", "cores", "seconds"),
    [
        ({}, 1, 1.0),
        ({}, 2, WORTH_WIDENING_S / 2),
        ({"intra_op_threads": 1}, 2, 1.0),  # asked for
        ({"profile": "latency"}, 2, 1.0),  # every run is wide already
    ],
)
def test_it_is_not_loaded_where_it_cannot_pay(
    runtime: dict[str, Any], cores: int, seconds: float, model: Model
) -> None:
    settings = RuntimeSettings.model_validate(runtime)
    assert not worth_widening(model, settings, cores, warmed(1, seconds))


def test_a_gpu_needs_none(model: Model) -> None:
    model.on_cuda = True
    assert not worth_widening(model, CPU, 2, LONG)


def wide() -> Wide:
    return Wide(cast(Instance, INSTANCE))


def test_it_is_taken_for_the_faster_one_at_first() -> None:
    assert wide().offer() is INSTANCE


@pytest.mark.parametrize(("took_s", "is_kept"), [(0.5, True), (0.88, True), (0.92, False)])
def test_it_is_kept_while_it_is_faster_by_a_tenth(took_s: float, is_kept: bool) -> None:
    tried = wide()
    for _ in range(60):
        tried.observe(took_s, 1.0)
    assert (tried.offer() is INSTANCE) == is_kept


def test_long_runs_count_for_more_than_short_ones() -> None:
    tried = wide()
    for _ in range(60):
        tried.observe(0.0010, 0.0010)
        tried.observe(0.0070, 0.0100)
    assert tried.offer() is INSTANCE


def test_one_slow_run_is_forgiven() -> None:
    tried = wide()
    tried.observe(100.0, 1.0)
    assert tried.offer() is INSTANCE


def test_it_is_tried_again_now_and_then_and_comes_back() -> None:
    tried = wide()
    for _ in range(20):
        tried.observe(1.0, 1.0)
    offers = [tried.offer() for _ in range(2 * RETRY_EVERY)]
    assert [number for number, offer in enumerate(offers, 1) if offer] == [32, 64]
    for _ in range(5):
        tried.observe(0.3, 1.0)
    assert tried.offer() is INSTANCE


def test_it_is_loaded_and_really_runs(tmp_path: Path) -> None:
    text, arena = load_texts(tmp_path)
    widen([(text, CPU)], 2)
    assert text.wide is not None
    instance = text.wide.offer()
    assert instance is not None
    assert instance is not text.instances.first
    text.run(arena, [0], instance)


def test_one_that_does_not_load_is_done_without(model: Model) -> None:
    model.graph.write_bytes(b"damaged")
    widen([(model, CPU)], 2)
    assert model.wide is None


def test_one_for_which_there_is_no_memory_is_done_without(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferctl.engine.rehearsal.arena_bytes", lambda *_: 2**62)
    widen([(model, CPU)], 2)
    assert model.wide is None
