"""The cost curve: what a run is expected to take, and how it follows what runs take."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferctl.engine.costs import DISTURBED, NEWS, CostCurve, next_knee


def curve(points: dict[int, float]) -> CostCurve:
    measured = CostCurve()
    for work, seconds in points.items():
        measured.measured(work, seconds)
    return measured


@pytest.mark.parametrize(
    ("work", "seconds"),
    [(2, 2.0), (4, 3.0), (3, 2.5), (1, 1.0), (0.5, 0.5), (8, 6.0)],
)
def test_between_the_points_lie_straight_lines(work: float, seconds: float) -> None:
    """From the origin to 2 s for 2, to 3 s for 4; beyond that the same cost per row."""
    assert curve({4: 3.0, 2: 2.0}).seconds(work) == pytest.approx(seconds)


def test_the_fastest_of_several_measurements_counts() -> None:
    assert curve({2: 2.0}).seconds(2) == 2.0
    twice = curve({2: 2.0})
    twice.measured(2, 1.5)
    twice.measured(2, 1.8)
    assert twice.seconds(2) == 1.5


def test_a_curve_without_a_measurement_expects_nothing() -> None:
    with pytest.raises(IndexError):
        CostCurve().seconds(1)


def test_a_run_moves_the_expectation_a_little() -> None:
    followed = curve({4: 1.0})
    followed.observe(4, 1.5)
    assert followed.seconds(4) == pytest.approx(1.0 + NEWS * 0.5)


def test_many_runs_move_it_all_the_way() -> None:
    followed = curve({1: 1.0, 4: 1.0})
    for _ in range(300):
        followed.observe(1, 0.2)
        followed.observe(4, 3.0)
    assert followed.seconds(1) == pytest.approx(0.2, rel=0.01)
    assert followed.seconds(4) == pytest.approx(3.0, rel=0.01)


def test_a_run_that_was_disturbed_counts_for_little() -> None:
    followed = curve({4: 1.0})
    followed.observe(4, 100.0)
    assert followed.seconds(4) == pytest.approx(1.0 + NEWS * (DISTURBED - 1))


def test_a_size_in_between_moves_the_point_nearest_to_it() -> None:
    followed = curve({2: 2.0, 4: 4.0, 8: 8.0})
    followed.observe(5, 5.5)
    assert followed.seconds(2) == 2.0
    assert followed.seconds(4) == pytest.approx(4.0 * (1 + NEWS * 0.1))
    assert followed.seconds(8) == 8.0


def test_a_run_far_from_every_point_makes_one_of_its_own() -> None:
    followed = curve({2: 2.0, 64: 64.0})
    for _ in range(300):
        followed.observe(16, 30.0)
    assert followed.seconds(16) == pytest.approx(30.0, rel=0.01)
    assert followed.seconds(2) == 2.0
    assert followed.seconds(64) == 64.0


def test_the_clock_may_be_too_coarse_for_a_run() -> None:
    followed = curve({1: 0.0})
    followed.observe(1, 0.0)
    followed.observe(1, 1.0)
    assert followed.seconds(1) == 0.0


@given(
    st.lists(st.tuples(st.integers(1, 600), st.floats(1e-6, 10)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 600), st.floats(0, 10)), max_size=30),
    st.lists(st.integers(1, 1000), min_size=2),
)
def test_more_work_never_costs_less(
    measured: list[tuple[int, float]], observed: list[tuple[int, float]], asked: list[int]
) -> None:
    followed = CostCurve()
    for work, seconds in measured:
        followed.measured(work, seconds)
    for work, seconds in observed:
        followed.observe(work, seconds)
    expected = [followed.seconds(work) for work in sorted(asked)]
    assert all(less <= more * (1 + 1e-9) for less, more in pairwise(expected))


def test_the_runs_of_texts_are_those_of_their_tokens() -> None:
    assert curve({8: 8.0, 64: 32.0}).by_rows((1, 2, 8), tokens=8) == pytest.approx(
        {1: 8.0, 2: 8 + 24 / 7, 8: 32.0}
    )


# Milliseconds per row: flat from 1 row on, or falling with every doubling.
FLAT = {1: 17.7, 2: 35.4, 4: 70.8, 8: 141.6}
FALLING = {1: 10.0, 2: 16.0, 4: 26.0, 8: 40.0}


def milliseconds(run_ms: dict[int, float]) -> dict[int, float]:
    return {rows: ms / 1000 for rows, ms in run_ms.items()}


@pytest.mark.parametrize("current", [1, 2, 4, 8])
def test_the_size_follows_the_curve(current: int) -> None:
    """A flat curve may keep two rows: dispatching them is a percent cheaper than one by one."""
    assert next_knee(milliseconds(FLAT), current) in (1, 2)
    assert next_knee(milliseconds(FALLING), current) == 8


@pytest.mark.parametrize("current", [1, 2])
def test_a_size_as_good_as_the_knee_is_kept(current: int) -> None:
    """The second row saves four percent: more than GAIN, but not by enough to change."""
    run_s = {1: 0.010, 2: 0.010 * 2 * 0.979}
    assert next_knee(run_s, current) == current


@given(st.floats(0.99, 1.01), st.floats(0.99, 1.01), st.sampled_from([1, 2, 4, 8]))
def test_noise_does_not_move_the_size_back_and_forth(
    first: float, second: float, start: int
) -> None:
    flat = milliseconds(FLAT)
    settled = next_knee({**flat, 2: flat[2] * first}, start)
    assert next_knee({**flat, 1: flat[1] * second}, settled) == settled


@pytest.mark.parametrize("run_us", [5.0, 20.0])
def test_a_tiny_model_gets_large_batches(run_us: float) -> None:
    assert next_knee({rows: run_us * 1e-6 + rows * 1e-7 for rows in (1, 2, 4, 8, 16, 32)}, 1) == 32
