"""The last measurements, of finalists whose capacity is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.tune.final import Final
from inferctl.tune.race import Spent
from inferctl.tune.space import Candidate
from tests.tune.modelled import BASE, SLO, Modelled

OTHER = replace(BASE, batch=8)


def better_by(factor: float) -> Modelled:
    """The other one carries so many times what is carried now."""
    return Modelled(lambda candidate: 100.0 * (factor if candidate == OTHER else 1.0))


def final(prober: Modelled, *finalists: Candidate) -> Final:
    found = Final.of(SLO, dict.fromkeys(finalists or (BASE, OTHER), 102.0))
    try:
        found.run(prober)
    except Spent:
        assert not found.ended
    return found


def test_the_better_one_wins_and_its_rate_is_confirmed() -> None:
    found = final(better_by(1.2))

    assert found.winner(by_cost=False) == OTHER
    assert found.highest(OTHER).confirmed
    assert found.highest(OTHER).rate_per_s == pytest.approx(120, rel=0.03)
    assert found.highest(BASE).rate_per_s == pytest.approx(100, rel=0.03)


def test_what_is_set_now_stays_where_it_is_as_good() -> None:
    assert final(better_by(1.0)).winner(by_cost=False) == BASE
    assert final(better_by(0.9)).winner(by_cost=False) == BASE


@pytest.mark.parametrize(("most", "is_settled"), [(2, False), (3, False), (30, True)])
def test_a_look_at_each_settles_nothing(most: int, is_settled: bool) -> None:
    prober = better_by(1.2)
    prober.most = most

    assert final(prober).is_settled == is_settled


def test_they_are_measured_in_turns() -> None:
    prober = better_by(1.2)
    final(prober)
    first = [candidate for candidate, _ in prober.asked[:6]]

    assert first in (
        [OTHER, BASE, BASE, OTHER, OTHER, BASE],
        [BASE, OTHER, OTHER, BASE, BASE, OTHER],
    )


def test_one_that_is_as_it_is_stands_alone() -> None:
    found = final(better_by(1.0), BASE, BASE)

    assert list(found.searches) == [BASE]
    assert found.winner(by_cost=False) == BASE


def test_nobody_wins_with_nothing() -> None:
    assert final(Modelled(lambda candidate: 0.0)).winner(by_cost=False) is None


def test_where_the_cpu_decides_the_cheaper_one_wins() -> None:
    prober = Modelled(cpu_ms=lambda candidate: 0.8 if candidate == OTHER else 1.0)
    found = Final.of(SLO, {BASE: 50.0, OTHER: 50.0})
    found.run_at(prober, 50.0)

    assert found.winner(by_cost=True) == OTHER
    assert prober.times() == {BASE: 2, OTHER: 2}
