"""Bodies that wait to be decoded: how many are let into memory, and which next."""

from __future__ import annotations

import pytest

from inferctl import heap
from inferctl.server.intake import Intake

from .loop import look_once


class Bodies:
    """Who was let in, in order."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.inside: list[str] = []

    def wait(self, name: str, size: int) -> None:
        self.intake.wait(size, lambda: self.inside.append(name))


@pytest.mark.parametrize(("held", "is_open"), [(0, True), (99, True), (100, False), (500, False)])
def test_bodies_may_come_while_less_than_the_limit_waits(held: int, is_open: bool) -> None:
    intake = Intake(100)
    intake.hold(held)
    assert intake.is_open is is_open


async def test_room_lets_the_next_ones_in_in_their_order() -> None:
    bodies = Bodies(Intake(100))
    bodies.intake.hold(150)
    for name in "abc":
        bodies.wait(name, 60)
    bodies.intake.release(50)
    await look_once()
    assert bodies.inside == []
    bodies.intake.release(100)
    await look_once()
    assert bodies.inside == ["a", "b"], "the second one finds 60 of 100 held"


async def test_a_body_that_was_let_in_is_held_before_it_has_come() -> None:
    bodies = Bodies(Intake(100))
    bodies.intake.hold(100)
    bodies.wait("a", 100)
    bodies.intake.release(100)
    assert not bodies.intake.is_open


async def test_a_body_larger_than_the_limit_is_let_in_alone() -> None:
    bodies = Bodies(Intake(100))
    bodies.intake.hold(100)
    bodies.wait("large", 1000)
    bodies.wait("next", 1)
    bodies.intake.release(100)
    await look_once()
    assert bodies.inside == ["large"]
    bodies.intake.release(1000)
    await look_once()
    assert bodies.inside == ["large", "next"]


async def test_when_a_flood_has_passed_its_memory_is_given_back_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: list[str] = []
    monkeypatch.setattr(heap, "give_back", lambda: given_back.append("heap"))
    bodies = Bodies(Intake(100))
    bodies.intake.hold(100)
    bodies.intake.release(100)
    assert given_back == [], "nobody had to wait"
    bodies.intake.hold(100)
    bodies.wait("a", 10)
    bodies.intake.release(100)
    assert given_back == [], "it is not over"
    bodies.intake.release(10)
    bodies.intake.hold(10)
    bodies.intake.release(10)
    assert given_back == ["heap"]
