"""Whether a batch is alone: no other one runs, and no row waits."""

from __future__ import annotations

from inferctl.engine.occupancy import Occupancy


def test_the_only_batch_is_alone() -> None:
    occupancy = Occupancy()
    assert occupancy.enter()
    occupancy.leave()
    assert occupancy.enter()


def test_a_batch_beside_another_is_not_alone() -> None:
    occupancy = Occupancy()
    assert occupancy.enter()
    assert not occupancy.enter()
    occupancy.leave()
    assert not occupancy.enter()


def test_a_batch_is_not_alone_while_rows_of_any_model_wait() -> None:
    occupancy = Occupancy()
    first, second = [list[int]() for _ in range(2)]
    occupancy.watch(first)
    occupancy.watch(second)
    assert occupancy.enter()
    occupancy.leave()
    second.append(1)
    assert not occupancy.enter()


def test_rows_of_a_model_that_is_gone_are_no_company() -> None:
    occupancy = Occupancy()
    waiting = [1]
    occupancy.watch(waiting)
    occupancy.unwatch(waiting)
    assert occupancy.enter()
