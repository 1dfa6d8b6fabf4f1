"""Clocks say when; they stand still while all rest."""

from __future__ import annotations

import math

from clocks import Clocks


def taken(clocks: Clocks, until_s: float) -> list[float]:
    """The times that come due until then, in order."""
    found = []
    while clocks.due_s <= until_s:
        found.append(clocks.take())
    return found


def test_the_times_of_all_come_in_their_order() -> None:
    clocks = Clocks()
    clocks.add(iter([1.0, 3.0, 5.0]), 10.0)
    clocks.add(iter([0.5, 0.6]), 11.0)
    assert taken(clocks, 13.0) == [11.0, 11.5, 11.6, 13.0]
    assert taken(clocks, 99.0) == [15.0]
    assert clocks.due_s == math.inf
    assert not clocks


def test_a_clock_without_times_is_none() -> None:
    clocks = Clocks()
    clocks.add(iter(()), 0.0)
    assert not clocks
    assert clocks.due_s == math.inf


def test_what_is_to_come_is_later_by_how_long_they_stood() -> None:
    clocks = Clocks()
    clocks.add(iter([1.0, 2.0, 3.0]), 0.0)
    assert taken(clocks, 1.5) == [1.0]
    clocks.stand(1.5)
    assert clocks.due_s == math.inf
    clocks.go_on(11.5)
    assert taken(clocks, 12.0) == [12.0]
    clocks.stand(12.25)
    clocks.go_on(20.25)
    clocks.add(iter([1.0]), 20.25)
    assert taken(clocks, 30.0) == [21.0, 21.25]


def test_of_one_that_is_removed_what_was_due_is_told() -> None:
    clocks = Clocks()
    clocks.add(iter([1.0, 9.0]), 0.0)
    number = clocks.add(iter([2.0, 3.0, 4.0]), 0.0)
    assert clocks.remove(number, 3.5) == [2.0, 3.0]
    assert taken(clocks, 9.0) == [1.0, 9.0]


def test_one_that_is_removed_while_they_stand_was_due_until_then() -> None:
    clocks = Clocks()
    number = clocks.add(iter([1.0, 2.0, 3.0]), 0.0)
    clocks.stand(1.5)
    assert clocks.remove(number, 99.0) == [1.0]
    assert not clocks
