"""Costs: where a larger batch stops paying for itself; worked out by hand."""

from __future__ import annotations

import pytest

from inferctl.engine.costs import (
    DISPATCH_S,
    CostCurve,
    costs_per_row,
    fitting,
    knee,
    smoothed,
    still_falling,
)


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


def test_a_text_joins_a_batch_only_when_that_is_cheaper_than_running_alone() -> None:
    """A run costs 1 ms, and 0.1 ms per token."""
    curve = CostCurve()
    for tokens in (10, 1000):
        curve.measured(tokens, 0.001 + 0.0001 * tokens)

    # Alone (1 + 4 + 0.45 ms) less 3 %, against 4 ms as one more row of 40 tokens.
    assert curve.saved_s(3, 40, 40) == pytest.approx(0.97 * 0.00545 - 0.004)
    # Ten tokens shorter it would still cost 4 ms, alone only 4.45.
    assert curve.saved_s(3, 40, 30) == pytest.approx(0.97 * 0.00445 - 0.004)
    assert curve.saved_s(3, 40, 20) < 0
    # Ten tokens longer it makes three others longer.
    assert curve.saved_s(3, 40, 50) < 0


def test_a_size_is_as_good_as_another_one_within_the_noise() -> None:
    run_s = {1: 1.0, 2: 1.84}
    assert knee(run_s) == 1
    assert knee(run_s, noise=0.0) == 2


def test_smoothing_leaves_a_straight_line_as_it_is() -> None:
    run_s = {rows: 1.0 + 0.5 * rows for rows in (1, 2, 4, 8)}
    assert smoothed(run_s) == pytest.approx(run_s)
    assert smoothed({4: 3.0}) == {4: 3.0}


def test_smoothing_finds_the_cost_of_a_run_behind_the_noise() -> None:
    noise = {1: 1.04, 2: 0.97, 4: 1.03, 8: 0.96, 16: 1.02}
    found = smoothed({rows: (0.2 + rows) * factor for rows, factor in noise.items()})
    assert found[1] == pytest.approx(1.2, rel=0.05)
    assert found[16] == pytest.approx(16.2, rel=0.05)
    assert found[1] > found[2] / 2 > found[4] / 4 > found[16] / 16


def test_the_size_of_text_batches_is_chosen_by_small_gains() -> None:
    """A run costs what six tokens do."""
    sizes = (1, 2, 4, 8, 16)
    texts, images = CostCurve(varies=True), CostCurve()
    for curve in (texts, images):
        for work in (30, 60, 120, 240, 480):
            curve.measured(work, 0.001 * (6 + work))
    assert texts.next_knee(sizes, 30, 1) == 4
    assert images.next_knee(sizes, 30, 1) == 2


@pytest.mark.parametrize(
    ("rows", "taken"),
    [
        # 64 and 48, which are padded to 64, cost 12 + 12; the 112 padded to 128 cost 23.
        (112, 64),
        # 4 and 1 cost 2.2 + 1.5; the 5 padded to 8 cost 3.0.
        (5, 5),
        # A size as it is, fewer than the smallest, more than the largest: nothing is padded less.
        (64, 64),
        (1, 1),
        (130, 130),
    ],
)
def test_rows_that_would_mostly_be_padding_wait_for_the_next_batch(rows: int, taken: int) -> None:
    run_s = {1: 1.5, 4: 2.2, 8: 3.0, 64: 12.0, 128: 23.0}
    assert fitting(rows, [*run_s], lambda size: run_s[size]) == taken


def test_below_the_smallest_size_there_is_nothing_to_leave() -> None:
    assert fitting(3, [4, 8], lambda size: float(size)) == 3
