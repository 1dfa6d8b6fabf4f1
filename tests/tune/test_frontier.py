"""The frontier, and its drawing."""

from __future__ import annotations

from inferctl.bench.slo import Judged, nothing_at
from inferctl.tune.frontier import Spot, frontier, spots
from inferctl.tune.plot import BEST, CHOSEN, HEIGHT, plot
from tests.tune.modelled import BASE


def spot(per_s: float, latency_ms: float) -> Spot:
    return Spot(BASE, Judged(per_s, 1.0, 100, 0, per_s, latency_ms, 1.0))


A, B, C, WORSE, FAR = spot(10, 5), spot(20, 9), spot(30, 40), spot(19, 10), spot(5, 4000)


def test_no_spot_of_the_frontier_is_surpassed_by_another() -> None:
    assert frontier([WORSE, C, FAR, A, B]) == [A, B, C]
    assert frontier([A, A]) == [A]
    assert frontier([]) == []


def test_what_answered_nothing_is_no_spot() -> None:
    assert spots({BASE: [A.judged, nothing_at(9.0)]}) == [A]


def test_the_drawing_shows_the_frontier_the_limit_and_the_chosen_one() -> None:
    text = plot([A, B, C, WORSE, FAR], 50.0, C)

    assert text.count(BEST) == 2
    assert text.count(CHOSEN) == 1
    assert len(text.splitlines()) == HEIGHT + 2
    (limit,) = [line for line in text.splitlines() if line.strip().startswith("50 ms")]
    assert limit.count("-") > 50
    assert "30 within the limit per second" in text


def test_one_spot_can_be_drawn_and_none_need_not() -> None:
    assert BEST in plot([A], 50.0)
    assert plot([], 50.0) == ""
