"""The wide session: for which models it is worth loading, and when it is kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.engine import wide as wide_module
from inferctl.engine.model import Model
from inferctl.engine.session import RunFailed, Session
from inferctl.engine.wide import WORTH_WIDENING_S, widen, worth_widening
from inferctl.settings import RuntimeSettings

from .fakes import warmed
from .loaded import load_images, load_texts

CPU = RuntimeSettings(device="cpu")
OPEN = threading.Event()
LONG = warmed(1, 2 * WORTH_WIDENING_S)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_module, "PAUSES_S", (0.0, 0.0, 0.0))


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


@pytest.mark.parametrize(
    ("narrow_s", "wide_s", "is_kept"),
    [(1.0, 0.5, True), (1.0, 0.79, True), (1.0, 0.81, False), (1.0, 1.5, False)],
)
def test_it_is_kept_when_it_is_faster_by_a_fifth(
    narrow_s: float,
    wide_s: float,
    is_kept: bool,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def took_s(model: Model, arena: object, session: Session | None = None) -> float:
        return wide_s if session else narrow_s

    monkeypatch.setattr(wide_module, "wall_s", took_s)
    widen([(model, CPU)], 2, OPEN)
    assert (model.wide is not None) == is_kept


def test_both_sessions_are_really_run(tmp_path: Path) -> None:
    text, _ = load_texts(tmp_path)
    widen([(text, CPU)], 2, OPEN)


def test_one_that_does_not_load_or_run_is_done_without(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise RunFailed("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(wide_module, "wall_s", fail)
        widen([(model, CPU)], 2, OPEN)
    model.graph.write_bytes(b"damaged")
    assert model.graph.name == GRAPH_FILE
    widen([(model, CPU)], 2, OPEN)
    assert model.wide is None


def test_one_that_met_a_busy_machine_is_compared_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter([False, True])
    monkeypatch.setattr(wide_module, "_is_faster", lambda model, session: next(verdicts))
    widen([(model, CPU)], 2, OPEN)
    assert model.wide is not None


def test_an_engine_that_closes_is_not_kept_waiting(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide_module, "PAUSES_S", (1000.0,))
    closing = threading.Event()
    closing.set()
    widen([(model, CPU)], 2, closing)
    assert model.wide is None
