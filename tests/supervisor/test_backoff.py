"""How long a process that died stays down."""

from __future__ import annotations

import random

import pytest

from inferctl.supervisor.backoff import (
    FIRST_DELAY_S,
    JITTER,
    MAX_DEATHS,
    WINDOW_S,
    Backoff,
)


class Steady(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.mark.row(94)
def test_delays_double_until_nothing_is_started_any_more() -> None:
    backoff = Backoff(Steady())
    delays = [backoff.next_delay_s(now_s=float(second)) for second in range(7)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, None, None]


def test_a_death_is_forgotten_after_the_window() -> None:
    backoff = Backoff(Steady())
    assert backoff.next_delay_s(0) == FIRST_DELAY_S
    assert backoff.next_delay_s(WINDOW_S - 0.001) == 2 * FIRST_DELAY_S
    assert backoff.next_delay_s(WINDOW_S) == 2 * FIRST_DELAY_S
    assert backoff.next_delay_s(10 * WINDOW_S) == FIRST_DELAY_S


def test_deaths_that_are_far_apart_go_on_for_ever() -> None:
    backoff = Backoff(Steady())
    apart_s = WINDOW_S / MAX_DEATHS
    delays = [backoff.next_delay_s(number * apart_s) for number in range(100)]
    assert None not in delays
    assert max(delay for delay in delays if delay) == 1.6


def test_an_exhausted_budget_comes_back_when_the_deaths_are_old() -> None:
    backoff = Backoff(Steady())
    for _ in range(MAX_DEATHS):
        assert backoff.next_delay_s(0) is not None
    assert backoff.next_delay_s(0) is None
    assert backoff.next_delay_s(WINDOW_S + 1) == FIRST_DELAY_S


@pytest.mark.parametrize("seed", range(20))
def test_delays_are_spread_around_the_plan(seed: int) -> None:
    backoff = Backoff(random.Random(seed))
    for planned_s in (0.1, 0.2, 0.4, 0.8, 1.6):
        delay_s = backoff.next_delay_s(0)
        assert delay_s is not None
        assert planned_s * (1 - JITTER) <= delay_s <= planned_s * (1 + JITTER)


def test_two_processes_do_not_come_back_in_step() -> None:
    assert len({Backoff(random.Random(seed)).next_delay_s(0) for seed in range(20)}) > 15


@pytest.mark.row(92)
def test_one_that_was_ready_for_a_while_does_not_keep_dying() -> None:
    backoff = Backoff(Steady())
    for number in range(20):
        backoff.is_ready(5.0 * number)
        assert backoff.next_delay_s(5.0 * number + 4) == FIRST_DELAY_S


def test_one_that_dies_as_soon_as_it_is_ready_keeps_dying() -> None:
    backoff = Backoff(Steady())
    for number in range(MAX_DEATHS):
        backoff.is_ready(float(number))
        assert backoff.next_delay_s(number + 0.9) is not None
    backoff.is_ready(float(MAX_DEATHS))
    assert backoff.next_delay_s(MAX_DEATHS + 0.9) is None


def test_a_death_that_is_forgiven_does_not_count_and_is_forgiven_once() -> None:
    backoff = Backoff(Steady())
    backoff.next_delay_s(0)
    backoff.next_delay_s(0)
    assert backoff.forgive() == FIRST_DELAY_S
    assert backoff.forgive() == FIRST_DELAY_S
    assert backoff.next_delay_s(0) == 2 * FIRST_DELAY_S
