"""Costs: where a larger batch stops paying for itself; worked out by hand."""

from __future__ import annotations

import pytest

from inferctl.engine.costs import DISPATCH_S, costs_per_row, knee, still_falling


@pytest.mark.parametrize(
    ("run_s", "rows"),
    [
        ({1: 1.0}, 1),
        # Per row: 1, 1, 1. Nothing is gained.
        ({1: 1.0, 2: 2.0, 4: 4.0}, 1),
        # Per row: 1, 0.5, 0.25. Each step halves the cost.
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4),
        # Per row: 1, 0.5, 0.75. A run that falls off a cliff is not chosen.
        ({1: 1.0, 2: 1.0, 4: 3.0}, 2),
        # Per row: 1, 1.5, 0.5. A bad size in between does not end the search.
        ({1: 1.0, 2: 3.0, 4: 2.0}, 4),
        # Per row: 1, 0.92, 1.05. Differences within the noise choose nothing.
        ({1: 1.0, 2: 1.84, 4: 4.2}, 1),
    ],
)
def test_the_knee_is_the_smallest_size_near_the_cheapest(
    run_s: dict[int, float], rows: int
) -> None:
    assert knee(run_s) == rows


def test_dispatching_makes_batches_of_a_small_model_worth_it() -> None:
    """Runs are flat at 2.7 ms per row; with their dispatch 3.15, 2.93, 2.81, 2.76 ms."""
    assert knee({1: 0.0027, 2: 0.0054, 4: 0.0108, 8: 0.0216}) == 4


def test_the_order_of_measuring_does_not_matter() -> None:
    assert knee({4: 1.0, 1: 1.0, 2: 1.0}) == 4


def test_alike_runs_differ_by_their_dispatch_alone() -> None:
    costs = costs_per_row({1: 1.0, 2: 2.18, 4: 4.8})

    assert costs[1] == pytest.approx(1.0 + DISPATCH_S)
    assert costs[2] == pytest.approx(1.0 + DISPATCH_S / 2)  # 1.09 per row: within the noise
    assert costs[4] == pytest.approx(1.2 + DISPATCH_S / 4)


def test_without_a_measurement_there_is_no_knee() -> None:
    with pytest.raises(ValueError, match="empty"):
        knee({})


@pytest.mark.parametrize(
    ("run_s", "falling"),
    [
        ({1: 1.0}, True),
        ({1: 1.0, 2: 1.0}, True),
        # 0.88 per row is less than 0.97; 0.92 is within the noise.
        ({1: 1.0, 2: 1.76}, True),
        ({1: 1.0, 2: 1.84}, False),
        ({1: 1.0, 2: 2.2}, False),
        # The largest counts against the cheapest of the smaller ones.
        ({4: 4.0, 2: 1.0, 1: 3.0}, False),
        ({4: 1.0, 2: 3.0, 1: 1.0}, True),
    ],
)
def test_sizes_are_tried_while_the_cost_falls(run_s: dict[int, float], falling: bool) -> None:
    assert still_falling(run_s) is falling
