"""The race, against candidates of known capacity."""

from __future__ import annotations

import pytest

from inferctl.tune.race import MARGIN, Race, Spent
from inferctl.tune.space import Candidate, Space
from tests.tune.modelled import BASE, INT8, SLO, SPACE, Modelled, best_per_s, capacity_per_s


def raced(prober: Modelled, space: Space = SPACE, **how: object) -> Race:
    """A race that ran until it ended or its time was up."""
    race = Race(space, SLO, prober, **how)  # type: ignore[arg-type] - what each test names
    try:
        race.run(60.0)
    except Spent:
        assert not race.ended
    return race


def test_the_best_of_the_grid_is_found_with_a_fraction_of_its_measurements() -> None:
    prober = Modelled()
    race = raced(prober)

    assert race.ended
    assert race.best.variant == INT8
    assert (race.best.batch, race.best.workers, race.best.wait) == (8, 1, 0.0)
    assert capacity_per_s(race.best) == pytest.approx(best_per_s())
    assert race.rate_per_s is not None
    assert race.rate_per_s >= 0.97 / (1 + MARGIN) * best_per_s()
    # The grid has 144 candidates, each of which takes about ten measurements.
    assert len(prober.asked) < 144 * 10 / 4 / 4


@pytest.mark.parametrize("seed", range(10))
def test_noise_costs_a_few_percent_at_most(seed: int) -> None:
    race = raced(Modelled(noise=0.03, seed=seed))

    assert capacity_per_s(race.best) >= 0.97 * best_per_s()


def test_a_machine_that_becomes_quicker_makes_no_winner() -> None:
    """All are alike, and each measurement finds the machine quicker than the last."""
    prober = Modelled(lambda candidate: 100.0, drift=lambda number: 1 + number / 100)
    race = raced(prober)

    assert race.best == BASE


def test_a_machine_that_becomes_slower_hides_no_winner() -> None:
    prober = Modelled(drift=lambda number: 1.0 if number < 8 else 0.75)
    race = raced(prober)

    assert capacity_per_s(race.best) >= 0.97 * best_per_s()


def test_who_lost_is_asked_once_more() -> None:
    """One bad moment does not keep the best out."""
    prober = Modelled(drift=lambda number: 0.1 if number == 11 else 1.0)
    race = raced(prober)

    assert prober.asked[11][0] != BASE
    assert capacity_per_s(race.best) >= 0.97 * best_per_s()


def test_the_neighbours_of_one_that_wins_when_asked_once_more_race_too() -> None:
    """Only with one worker a wait is better, and that had bad luck at first."""
    asked: list[Candidate] = []

    def capacity(candidate: Candidate) -> float:
        if candidate.workers != 1:
            return 100.0
        asked.append(candidate)
        return 10.0 if len(asked) == 1 else 150.0 if candidate.wait else 120.0

    race = raced(Modelled(capacity), Space(BASE, {"workers": ("auto", 1), "wait": (0.0, 2.0)}))

    assert race.ended
    assert (race.best.workers, race.best.wait) == (1, 2.0)


def test_who_is_asked_again_on_a_machine_that_became_slower_may_lose_again() -> None:
    """It lost before the last check of the best, and once more after."""
    space = Space(BASE, {"batch": ("auto", 1, 32)})
    prober = Modelled(drift=lambda number: 1.0 if number < 11 else 0.8)
    race = raced(prober, space)

    assert race.ended
    assert race.best == BASE


def test_a_challenger_is_not_believed_before_the_best_misses_the_same() -> None:
    prober = Modelled()
    race = raced(prober)
    crowned = next(number for number, (one, _) in enumerate(prober.asked) if one == race.best)
    rate_per_s = prober.asked[crowned][1]

    rival, same_per_s = prober.asked[crowned + 1]
    assert rival != race.best
    assert same_per_s == rate_per_s


def test_what_the_cost_curve_rules_out_is_not_measured() -> None:
    prober = Modelled()
    race = raced(prober, hopeless=lambda candidate, rate_per_s: candidate.batch == 32)

    assert not [one for one, _ in prober.asked if one.batch == 32]
    assert race.pruned
    assert race.best.batch == 8


@pytest.mark.parametrize("most", [0, 1, 3, 7, 12, 20])
def test_a_race_that_is_cut_off_names_only_what_was_measured(most: int) -> None:
    prober = Modelled(most=most)
    race = raced(prober)

    assert len(prober.asked) == most
    if race.rate_per_s is not None:
        assert (race.best, race.rate_per_s) in prober.asked
        assert race.rate_per_s <= capacity_per_s(race.best)


def test_settings_that_carry_nothing_are_left_for_any_that_carry_something() -> None:
    def only_int8(candidate: Candidate) -> float:
        return capacity_per_s(candidate) if candidate.variant == INT8 else 0.0

    race = raced(Modelled(only_int8))

    assert race.best.variant == INT8
    assert race.rate_per_s is not None


def test_where_nothing_carries_anything_no_rate_is_named() -> None:
    race = raced(Modelled(lambda candidate: 0.0))

    assert race.rate_per_s is None
    assert race.ended


def test_where_the_generator_is_the_limit_the_cpu_decides() -> None:
    prober = Modelled(
        lambda candidate: 1e6,
        client_per_s=500.0,
        cpu_ms=lambda candidate: {1: 0.8, "auto": 1.0}[candidate.workers],
    )
    race = raced(prober)

    assert race.by_cost
    assert race.best.workers == 1
    assert race.rate_per_s is not None
    assert race.rate_per_s <= 500
