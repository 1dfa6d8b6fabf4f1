"""Places for requests in work, handed on in the order of asking."""

from __future__ import annotations

from inferctl.server.gate import Gate

from .loop import look_once


class Visitors:
    """Who was let in, in order."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[int] = []

    def come(self, number: int) -> None:
        if self.gate.enter(lambda: self.inside.append(number)):
            self.inside.append(number)


async def test_as_many_are_in_as_there_are_places() -> None:
    visitors = Visitors(Gate(3))
    for number in range(5):
        visitors.come(number)
    await look_once()
    assert visitors.inside == [0, 1, 2]


async def test_whoever_leaves_lets_the_next_one_in() -> None:
    visitors = Visitors(Gate(1))
    for number in range(4):
        visitors.come(number)
    for left in range(1, 4):
        visitors.gate.leave()
        await look_once()
        assert visitors.inside == list(range(left + 1))


async def test_a_place_that_was_left_is_free_for_one() -> None:
    visitors = Visitors(Gate(2))
    visitors.come(0)
    visitors.gate.leave()
    for number in (1, 2, 3):
        visitors.come(number)
    await look_once()
    assert visitors.inside == [0, 1, 2]


async def test_a_place_on_its_way_to_who_waits_is_not_free() -> None:
    visitors = Visitors(Gate(1))
    visitors.come(0)
    visitors.come(1)
    visitors.gate.leave()
    visitors.come(2)
    assert visitors.inside == [0]
    await look_once()
    assert visitors.inside == [0, 1]


async def test_ten_thousand_that_leave_at_once_do_not_nest() -> None:
    gate = Gate(1)
    left = 0

    def leave() -> None:
        nonlocal left
        left += 1
        gate.leave()

    assert gate.enter(leave)
    for _ in range(10_000):
        assert not gate.enter(leave)
    leave()
    while left <= 10_000:
        await look_once()
    assert gate.enter(leave), "the place is free again"
