"""What the settings and the bundles must agree on before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.spec import ModelSpec
from inferctl.bundles.repository import Bundle
from inferctl.errors import SettingsError
from inferctl.settings import Settings
from inferctl.supervisor.specs import model_specs
from tests.tasks.tinybundles import classifier, detector

SHAPES = Bundle(Path("models/shapes/3"), detector())
ANIMALS = Bundle(Path("models/animals/3"), classifier())


@contextmanager
def specs(
    *bundles: Bundle, settings: dict[str, Any] | None = None, workers: int = 2
) -> Iterator[Sequence[ModelSpec]]:
    made = model_specs(bundles, Settings.model_validate(settings or {}), workers)
    try:
        yield made
    finally:
        for spec in made:
            os.close(spec.arena_fd)


def refusal(*bundles: Bundle, settings: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught, specs(*bundles, settings=settings):
        pass
    assert caught.value.hint
    return caught.value.what


def marked(*names: str) -> dict[str, Any]:
    return {"models": {name: {"default": True} for name in names}}


def test_the_only_model_is_the_default_one() -> None:
    with specs(SHAPES) as (spec,):
        assert spec.settings.default


def test_of_several_models_only_a_marked_one_is_the_default_one() -> None:
    with specs(SHAPES, ANIMALS) as made:
        assert [spec.settings.default for spec in made] == [False, False]
    with specs(SHAPES, ANIMALS, settings=marked("animals")) as made:
        assert [spec.settings.default for spec in made] == [False, True]


def test_two_default_models_are_refused() -> None:
    said = refusal(SHAPES, ANIMALS, settings=marked("animals", "shapes"))
    assert said == "shapes and animals are both marked as default"


def test_a_misspelt_model_is_refused() -> None:
    said = refusal(SHAPES, ANIMALS, settings=marked("shape"))
    assert said == "models.shape: no such model; found: shapes, animals"


@pytest.mark.parametrize(("rows", "workers", "slots"), [(8, 1, 8), (8, 2, 16), (1, 3, 3)])
def test_every_worker_could_hold_the_whole_queue(rows: int, workers: int, slots: int) -> None:
    settings = {"limits": {"max_queue_rows": rows}}
    with specs(SHAPES, settings=settings, workers=workers) as (spec,):
        assert spec.slots == slots


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            {"batching": {"max_batch_rows": 9}, "limits": {"max_queue_rows": 8}},
            ("batching.max_batch_rows", "limits.max_queue_rows"),
        ),
        (
            {"batching": {"max_wait_ms": 50}, "server": {"request_timeout_ms": 50}},
            ("batching.max_wait_ms", "server.request_timeout_ms"),
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], names: tuple[str, str]
) -> None:
    said = refusal(SHAPES, settings=settings)
    assert all(name in said for name in names)
