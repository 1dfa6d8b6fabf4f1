"""Warm-up: which shapes are run before the first request, and how large a batch comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferctl.engine import model as model_module
from inferctl.errors import StartError
from inferctl.settings import BatchingSettings
from tests.graphs import MAX_TOKENS

from .loaded import SLOTS, Clock, load_images, load_texts, record_sizes


@pytest.mark.parametrize(
    ("seconds", "largest", "tried"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4, [1, 2, 4]),
        ({1: 1.0, 2: 1.2, 4: 2.4}, 2, [1, 2, 4]),
        ({1: 1.0, 2: 2.0}, 1, [1, 2]),
        # What a batch costs besides its run makes batches of a tiny model worth it.
        ({1: 1e-6, 2: 2e-6, 4: 4e-6}, 4, [1, 2, 4]),
    ],
)
def test_auto_tries_sizes_upwards_until_the_cost_stops_falling(
    seconds: dict[int, float],
    largest: int,
    tried: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, _ = load_images(tmp_path)
    monkeypatch.setattr(model_module, "time", Clock)
    sizes = record_sizes(model, seconds.__getitem__)
    cost_s = pytest.approx(seconds[largest])
    assert model.warm(BatchingSettings()) == (largest, cost_s)
    assert sorted(set(sizes)) == tried


@pytest.mark.parametrize(
    ("wanted", "tried"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6])]
)
def test_a_number_is_obeyed_and_everything_below_it_warmed(
    wanted: int, tried: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_images(tmp_path)
    monkeypatch.setattr(model_module, "time", Clock)
    sizes = record_sizes(model, lambda rows: rows * 2.0)
    cost_s = pytest.approx(wanted * 2.0)
    assert model.warm(BatchingSettings(max_batch_rows=wanted)) == (wanted, cost_s)
    assert sorted(set(sizes)) == tried


def test_the_first_run_of_a_shape_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It allocates."""
    model, _ = load_images(tmp_path)
    monkeypatch.setattr(model_module, "time", Clock)
    took_s: Iterator[float] = iter([0.5, 3.0])
    record_sizes(model, lambda rows: next(took_s))
    assert model.warm(BatchingSettings(max_batch_rows=1)) == (1, pytest.approx(3.0))


def test_a_disturbed_measurement_is_made_good_by_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are flat at a millisecond per row, so dispatching makes 4 rows the best."""
    model, _ = load_images(tmp_path)
    monkeypatch.setattr(model_module, "time", Clock)
    runs: Counter[int] = Counter()

    def seconds(rows: int) -> float:
        runs[rows] += 1
        return 0.001 * rows * (5 if rows == 4 and runs[4] <= 2 else 1)

    record_sizes(model, seconds)
    assert model.warm(BatchingSettings()) == (4, pytest.approx(0.004))


def test_warming_takes_real_time(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    largest, run_s = model.warm(BatchingSettings(max_batch_rows=2))
    assert largest == 2
    assert 0 < run_s < 10


def test_warming_runs_every_length_with_every_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_texts(tmp_path)
    shapes: set[tuple[int, ...]] = set()
    run = model.session.run

    def recording(inputs: Any, outputs: Any = None) -> Any:
        shapes.add(inputs["input_ids"].shape)
        assert inputs["attention_mask"].all()
        return run(inputs, outputs)

    monkeypatch.setattr(model.session, "run", recording)
    model.warm(BatchingSettings(max_batch_rows=2))
    assert shapes == {(1, 4), (1, 8), (2, 4), (2, 8)}


def test_warming_leaves_the_service_arena_alone(tmp_path: Path) -> None:
    """After a restart of the engine its slots hold requests that wait."""
    model, arena = load_texts(tmp_path)
    memory = arena.tokens.base
    before = bytes(memory)  # type: ignore[arg-type]
    model.warm(BatchingSettings())
    assert bytes(memory) == before  # type: ignore[arg-type]
    assert len(before) > SLOTS * MAX_TOKENS


def test_a_graph_that_fails_in_warm_up_cannot_start(tmp_path: Path) -> None:
    wrong = [{"name": "scores", "dtype": "float32", "shape": ["rows", 1]}]
    model, _ = load_images(tmp_path, outputs=wrong)
    with pytest.raises(StartError, match="pixels fails at 1 rows during warm-up: output scores"):
        model.warm(BatchingSettings())
