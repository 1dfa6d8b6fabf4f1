"""Rows through their engine's absence, stall and death."""

from __future__ import annotations

import socket

import pytest

from inferctl.errors import RowFailed, Unavailable

from .line import Line, Started, line, rows
from .loop import look_once
from .wiring import SLOTS


async def test_rows_wait_for_the_first_engine() -> None:
    async with line(attached=False) as it:
        assert not it.link.attached
        slot, answered = it.start()
        it.engine.connect(it.link)
        assert await it.engine.next() == (0, slot)
        it.engine.answer((0, slot))
        await answered


async def test_rows_outlive_their_engine_and_go_to_the_next_once() -> None:
    async with line() as it:
        started = [it.start() for _ in range(5)]
        await look_once()
        assert rows(it.engine) == [(0, slot) for slot, _ in started]
        engine = await it.next_engine()
        await look_once()
        assert rows(engine) == [(0, slot) for slot, _ in started]
        for slot, answered in started:
            engine.answer((0, slot))
            await answered


async def test_a_row_is_not_given_to_a_third_engine() -> None:
    async with line() as it:
        _, suspect = it.start()
        await it.next_engine()
        slot, bystander = it.start()
        engine = await it.next_engine()
        with pytest.raises(RowFailed, match="engine died"):
            await suspect
        await look_once()
        assert rows(engine) == [(0, slot)]
        engine.answer((0, slot))
        await bystander


async def test_a_row_that_came_between_two_engines_has_both_its_attempts() -> None:
    async with line(attached=False) as it:
        slot, answered = it.start()
        for _ in range(2):
            engine = await it.next_engine()
            await look_once()
            assert rows(engine) == [(0, slot)]
        engine.answer((0, slot))
        await answered


async def test_giving_up_fails_what_waits_and_what_comes() -> None:
    async with line() as it:
        slot, answered = it.start()
        released, _ = it.start()
        it.link.release(it.model, released)
        it.engine.die()
        it.link.give_up()
        with pytest.raises(Unavailable):
            await answered
        with pytest.raises(Unavailable):
            it.submit(it.model, slot)
        it.link.release(it.model, slot)
        assert it.free() == SLOTS


async def test_verdicts_that_come_after_giving_up_are_not_heard() -> None:
    async with line() as it:
        slot, answered = it.start()
        it.engine.answer((0, slot))
        it.link.give_up()
        await look_once()
        assert isinstance(answered.exception(), Unavailable)
        assert not it.link.attached


async def test_a_new_engine_ends_the_giving_up() -> None:
    async with line() as it:
        it.link.give_up()
        engine = await it.next_engine()
        slot, answered = it.start()
        engine.answer((0, slot))
        await answered


async def start_until_it_stalls(it: Line) -> list[Started]:
    """Rows in messages of their own, of which a socket holds fewer than 300, and some more."""
    started = []
    while not it.link._unsent:
        started.append(it.start())
        await look_once()
    return started + [it.start() for _ in range(100)]


async def test_a_stalled_engine_gets_every_row_later() -> None:
    async with line(attached=False, slots=2000) as it:
        it.engine.connect(it.link, reading=False)
        started = await start_until_it_stalls(it)
        it.engine.read_on()
        seen = [await it.engine.next() for _ in started]
        assert seen == [(0, slot) for slot, _ in started]
        for slot, answered in started:
            it.engine.answer((0, slot))
            await answered


async def test_an_engine_that_dies_while_it_stalls_loses_no_row() -> None:
    async with line(attached=False, slots=2000) as it:
        it.engine.connect(it.link, reading=False)
        started = await start_until_it_stalls(it)
        engine = await it.next_engine()
        assert [await engine.next() for _ in started] == [(0, slot) for slot, _ in started]


async def test_an_engine_that_is_dead_on_arrival_leaves_the_rows_waiting() -> None:
    async with line(attached=False) as it:
        started = [it.start() for _ in range(3)]
        ours, theirs = socket.socketpair()
        ours.close()
        it.link.attach(theirs)
        await look_once()
        assert not it.link.attached
        it.engine.connect(it.link)
        await look_once()
        assert rows(it.engine) == [(0, slot) for slot, _ in started]


async def test_an_engine_that_dies_unheard_is_noticed_by_the_next_row() -> None:
    async with line() as it:
        it.engine.die()
        it.start()
        await look_once()
        assert not it.link.attached


async def test_an_engine_that_dies_with_unread_rows_is_noticed() -> None:
    """Its end is a reset, not an end of file."""
    async with line(attached=False) as it:
        it.engine.connect(it.link, reading=False)
        it.start()
        it.engine.die()
        await look_once()
        assert not it.link.attached


async def test_detaching_twice_is_no_fault() -> None:
    async with line() as it:
        it.link.detach()
        it.link.detach()
        assert not it.link.attached
