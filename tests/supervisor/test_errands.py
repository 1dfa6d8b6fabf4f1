"""Every errand ends once: done, refused, or lost with its child."""

from __future__ import annotations

from inferctl.supervisor.errands import Errands

from .children import SILENT, FakeChild


async def test_answers_find_their_errands() -> None:
    errands = Errands()
    child = FakeChild(errands)
    child.answer = lambda message: SILENT
    asked = [errands.ask(child.child, {"do": "this"}) for _ in range(3)]
    numbers = [message["id"] for message in child.told]
    errands.heard({"to": numbers[2], "error": "no"})
    errands.heard({"to": numbers[0], "error": None})
    assert [await asked[0], await asked[2]] == [None, "no"]
    assert not asked[1].done()


async def test_the_errands_of_a_child_that_dies_are_lost_and_no_others() -> None:
    errands = Errands()
    mortal, other = FakeChild(errands), FakeChild(errands)
    mortal.answer = other.answer = lambda message: SILENT
    lost = errands.ask(mortal.child, {"do": "this"}, if_lost="it died")
    unheard = errands.ask(mortal.child, {"do": "this"})
    kept = errands.ask(other.child, {"do": "this"}, if_lost="it died")
    mortal.die()
    assert (await lost, await unheard) == ("it died", None)
    assert not kept.done()


async def test_an_errand_for_a_dead_child_is_lost_at_once() -> None:
    errands = Errands()
    child = FakeChild(errands)
    child.die()
    assert await errands.ask(child.child, {"do": "this"}, if_lost="it is dead") == "it is dead"


async def test_an_answer_that_nobody_waits_for_any_more_is_no_error() -> None:
    errands = Errands()
    child = FakeChild(errands)
    child.answer = lambda message: SILENT
    errands.ask(child.child, {"do": "this"}).cancel()
    errands.heard({"to": child.told[0]["id"], "error": None})
    child.die()
