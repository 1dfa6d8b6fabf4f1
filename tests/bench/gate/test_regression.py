"""Noise is let pass and a slower server is not, on a machine whose speed drifts by a third."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.bench.gate.comparison import changes_of
from inferctl.bench.gate.regression import Series, change_of
from inferctl.bench.measurement import Load
from inferctl.bench.report.making import record_of
from inferctl.bench.report.record import LoadRecord
from tests.bench.made import noisy

# More than the 40 of "done when": of 3 % of 40 there may be two.
COMPARISONS = 100
LIMIT = 0.05
# Of a window by turns, as benchmarks/gate.py finds it: two of them differ by a tenth.
NOISE, TURNS = 0.07, 20


def by_turns(slower: float) -> int:
    """In how many comparisons any figure is worse."""
    count = 0
    for number in range(COMPARISONS):
        old, new = (
            record_of(noisy(seed, slower=scale, windows=TURNS, moments=number, noise=NOISE))
            for seed, scale in ((2 * number, 1.0), (2 * number + 1, slower))
        )
        count += is_flagged(old, new, paired=True)
    return count


def one_after_the_other(slower: float, slope: float | None) -> int:
    """The same of measurements that the machine's drift separates."""
    return sum(
        is_flagged(
            record_of(noisy(2 * number)), record_of(noisy(2 * number + 1, slower=slower)),
            slope=slope,
        )
        for number in range(COMPARISONS)
    )  # fmt: skip


def is_flagged(
    old: LoadRecord, new: LoadRecord, *, slope: float | None = None, paired: bool = False
) -> bool:
    found = [change for _, change in changes_of(old, new, slope, paired=paired)]
    return any(change is not None and change.exceeds(LIMIT) for change in found)


def test_a_server_is_not_slower_than_itself() -> None:
    """Done when: less than 5 % of comparisons say so."""
    assert by_turns(1.0) < 0.05 * COMPARISONS


def test_one_that_is_a_tenth_slower_is_found() -> None:
    """Done when: more than 90 % of comparisons say so."""
    assert by_turns(1.1) > 0.9 * COMPARISONS


def test_one_after_the_other_it_is_a_lottery_unless_the_machine_is_taken_out() -> None:
    """What the generator says of the machine's speed makes it better, if not as good."""
    assert one_after_the_other(1.0, None) > 0.2 * COMPARISONS
    assert one_after_the_other(1.0, 1.0) < 0.1 * COMPARISONS
    assert one_after_the_other(1.1, 1.0) > 0.7 * COMPARISONS


def series(values: list[float], effort: list[float] | None = None) -> Series:
    return Series(np.array(values), np.array(effort or [1.0] * len(values)))


def test_a_change_that_is_clear_is_found_and_bounded() -> None:
    change = change_of(
        series([100, 101, 99, 100, 100]), series([90, 91, 89, 90, 90]), more_is_worse=False, slope=0
    )
    assert change.worse == pytest.approx(100 / 90 - 1, rel=0.01)
    assert change.low < change.worse < change.high
    assert (change.old, change.new) == pytest.approx((100, 90), rel=0.01)
    assert change.exceeds(0.05)
    assert not change.exceeds(0.15)


def test_what_a_moment_did_to_both_is_no_change_of_either() -> None:
    """By turns a tenth is found among windows that differ by a half."""
    random = np.random.default_rng(0)
    moments = 10 * random.lognormal(0, 0.4, 10)
    old, new = Series(moments, np.ones(10)), Series(1.1 * moments, np.ones(10))
    apart, paired = (
        change_of(old, new, more_is_worse=True, slope=0, paired=paired) for paired in (False, True)
    )
    assert not apart.exceeds(0.05)
    assert paired.exceeds(0.05)
    assert paired.low == pytest.approx(0.1)


def test_what_is_quicker_is_no_regression() -> None:
    change = change_of(
        series([9, 9, 9, 9, 9]), series([8, 8, 8, 8, 8]), more_is_worse=True, slope=0
    )
    assert change.worse == pytest.approx(8 / 9 - 1)
    assert not change.exceeds(0.0)


def test_a_machine_that_slowed_down_is_not_the_server() -> None:
    """Latency and the generator's CPU per request both rose by a fifth."""
    change = change_of(
        series([10, 11, 10, 9, 10], [1.0, 1.1, 1.0, 0.9, 1.0]),
        series([12, 13.2, 12, 10.8, 12], [1.2, 1.32, 1.2, 1.08, 1.2]),
        more_is_worse=True, slope=1.0,
    )  # fmt: skip
    assert change.raw == pytest.approx(0.2)
    assert change.worse == pytest.approx(0.0, abs=1e-6)
    assert not change.exceeds(0.05)


def test_windows_overrule_what_was_thought_of_the_machine() -> None:
    """The generator's CPU varies, latency does not follow it: a server elsewhere."""
    random = np.random.default_rng(0)
    old, new = (
        Series(10 * random.lognormal(0, 0.01, 20), scale * random.lognormal(0, 0.2, 20))
        for scale in (1.0, 1.5)
    )
    assert abs(change_of(old, new, more_is_worse=True, slope=1.0).worse) < 0.02


def test_the_same_windows_give_the_same_answer() -> None:
    old, new = series([10, 12, 9, 11, 10]), series([11, 12, 10, 12, 13])
    first, second = (change_of(old, new, more_is_worse=True, slope=1.0) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("windows", [5, 10])
def test_an_interval_holds_the_truth_as_often_as_it_says(windows: int) -> None:
    """One-sided, 2.5 % of independent windows without any change lift it above zero."""
    random = np.random.default_rng(0)
    lifted = 0
    for _ in range(400):
        old, new = (Series(random.lognormal(0, 0.1, windows), np.ones(windows)) for _ in range(2))
        lifted += change_of(old, new, more_is_worse=True, slope=0).low > 0
    assert 0.005 * 400 < lifted < 0.05 * 400


@pytest.mark.parametrize("turns", [5, 20])
def test_by_turns_noise_lifts_it_more_seldom(turns: int) -> None:
    """One in a hundred, whatever both share in a moment, and however few turns there are."""
    random = np.random.default_rng(0)
    ones = np.ones(turns)
    lifted = 0
    for _ in range(200):
        moments = random.lognormal(0, 0.3, turns)
        old, new = (Series(moments * random.lognormal(0, 0.1, turns), ones) for _ in range(2))
        lifted += change_of(old, new, more_is_worse=True, slope=0, paired=True).low > 0
    assert lifted < 0.025 * 200


def test_of_an_open_loop_the_median_is_compared() -> None:
    """Its throughput is what is offered."""
    load = Load(rate_per_s=100.0)
    old, new = (record_of(noisy(seed, load=load)) for seed in (1, 2))
    assert [figure.name for figure, _ in changes_of(old, new, 1.0)] == ["p50", "p99"]
