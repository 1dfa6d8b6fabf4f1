"""The search for the highest rate, against modelled servers of known capacity."""

from __future__ import annotations

import random

import pytest

from inferctl.bench.search import PRECISION, find_highest
from inferctl.bench.slo import Judged, Slo

SLO = Slo(99, 50)


class Server:
    """Keeps the limit up to a capacity; chance has some share of the requests late by itself."""

    def __init__(self, capacity_per_s: float, noise: float = 0.0, client_per_s: float = 1e9):
        self.capacity_per_s, self.noise, self.client_per_s = capacity_per_s, noise, client_per_s
        self.rng = random.Random(1)
        self.asked: list[float] = []

    def probe(self, rate_per_s: float) -> Judged:
        """Near the capacity the answer is chance's where there is noise."""
        self.asked.append(rate_per_s)
        seen_per_s = rate_per_s * (1 + self.rng.uniform(-self.noise, self.noise))
        late = 200 if seen_per_s > min(self.capacity_per_s, self.client_per_s) else 0
        limited = "its core" if rate_per_s > self.client_per_s else None
        return Judged(rate_per_s, 2.0, 1000, late, 400.0, 9.0, 5.0, None, limited)


@pytest.mark.parametrize("capacity_per_s", [3.0, 70.0, 640.0, 20_000.0])
@pytest.mark.parametrize("guess", [0.05, 0.7, 1.0, 1.4, 20.0])
def test_the_highest_rate_is_found_from_any_guess(capacity_per_s: float, guess: float) -> None:
    server = Server(capacity_per_s)
    found = find_highest(server.probe, SLO, guess * capacity_per_s)

    assert found.rate_per_s is not None
    assert found.confirmed
    assert capacity_per_s / (1 + PRECISION) <= found.rate_per_s <= capacity_per_s
    assert len(server.asked) <= 26


def test_both_ends_of_the_bracket_are_measured_twice() -> None:
    server = Server(100.0)
    found = find_highest(server.probe, SLO, 80.0)

    assert found.rate_per_s is not None
    assert found.missed_per_s is not None
    assert server.asked.count(found.rate_per_s) == 2
    assert server.asked.count(found.missed_per_s) == 2
    assert found.missed_per_s <= found.rate_per_s * (1 + PRECISION)


def test_a_rate_that_was_kept_by_luck_is_given_up() -> None:
    server = Server(100.0)
    lucky: list[Judged] = []

    def probe(rate_per_s: float) -> Judged:
        judged = server.probe(rate_per_s)
        if not lucky and rate_per_s > 100:
            lucky.append(judged)
            return Judged(rate_per_s, 2.0, 1000, 0, 500.0, 9.0, 5.0)
        return judged

    found = find_highest(probe, SLO, 110.0)

    assert lucky
    assert found.rate_per_s is not None
    assert 97 <= found.rate_per_s <= 100


def test_a_rate_that_was_missed_by_accident_is_tried_again() -> None:
    server = Server(100.0)
    accidents: list[float] = []

    def probe(rate_per_s: float) -> Judged:
        judged = server.probe(rate_per_s)
        if not accidents:
            accidents.append(rate_per_s)
            # A stall, and then a queue: most are late.
            return Judged(rate_per_s, 2.0, 1000, 900, 50.0, 600.0, 500.0)
        return judged

    found = find_highest(probe, SLO, 95.0)

    assert found.rate_per_s is not None
    assert 97 <= found.rate_per_s <= 100


@pytest.mark.parametrize("seed", range(8))
def test_slow_moments_of_the_machine_are_seen_through(seed: int) -> None:
    """Every fifth measurement or so misses whatever is offered."""
    server, slow = Server(100.0), random.Random(seed)

    def probe(rate_per_s: float) -> Judged:
        judged = server.probe(rate_per_s)
        if slow.random() < 0.2:
            return Judged(rate_per_s, 2.0, 1000, 900, 50.0, 600.0, 500.0)
        return judged

    found = find_highest(probe, SLO, 80.0)

    assert found.rate_per_s is not None
    assert 80 <= found.rate_per_s <= 100


def test_noise_moves_the_result_by_no_more_than_the_noise() -> None:
    found = [find_highest(Server(100.0, noise).probe, SLO, 60.0) for noise in (0.02, 0.05)]

    for noise, one in zip((0.02, 0.05), found, strict=True):
        assert one.rate_per_s == pytest.approx(100, rel=noise + PRECISION)


def test_the_generators_limit_is_told_apart_from_the_servers() -> None:
    found = find_highest(Server(1000.0, client_per_s=300.0).probe, SLO, 100.0)

    assert found.rate_per_s is not None
    assert found.rate_per_s <= 300
    assert found.client_limited == "its core"
    assert find_highest(Server(1000.0).probe, SLO, 100.0).client_limited is None


def test_where_no_rate_keeps_the_limit_there_is_none() -> None:
    found = find_highest(Server(0.0).probe, SLO, 100.0)

    assert found.rate_per_s is None
    assert not found.confirmed


def test_an_interrupted_search_says_what_it_knows() -> None:
    server = Server(100.0)

    def probe(rate_per_s: float) -> Judged:
        if len(server.asked) == 3:
            raise KeyboardInterrupt
        return server.probe(rate_per_s)

    found = find_highest(probe, SLO, 50.0)

    assert len(found.probes) == 3
    assert not found.confirmed
    assert found.rate_per_s is not None
    assert found.rate_per_s <= 100
