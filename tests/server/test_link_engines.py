"""Rows through their engine's absence, stall and death."""

from __future__ import annotations

import socket
import time

import pytest

from inferctl.arena.wire import Verdict
from inferctl.refusals import (
    DeadlineExceeded,
    EngineCrash,
    OutOfMemory,
    RequestError,
    RowFailed,
    Unavailable,
)

from .line import Line, Started, line, rows
from .loop import look_once
from .wiring import SLOTS, FakeEngine, hold


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


def note(it: Line, slot: int, verdict: Verdict) -> None:
    """What an engine notes that tried the row of a slot alone."""
    arena = it.model.arena
    arena.tried_s[slot], arena.verdict[slot] = arena.submitted_s[slot], verdict


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        (Verdict.CRASHED, EngineCrash),
        (Verdict.TIMED_OUT, DeadlineExceeded),
        (Verdict.OUT_OF_MEMORY, OutOfMemory),
        (Verdict.FAILED, RowFailed),
        (Verdict.DONE, None),
    ],
)
async def test_a_row_that_was_tried_alone_is_answered_and_not_run_again(
    verdict: Verdict, error: type[RequestError] | None
) -> None:
    async with line() as it:
        (suspect, tried), (slot, bystander) = it.start(), it.start()
        note(it, suspect, verdict)
        engine = await it.next_engine()
        await look_once()
        assert rows(engine) == [(0, slot)]
        assert type(tried.exception()) is (error or type(None))
        assert not bystander.done()


async def test_what_became_of_the_slots_last_row_is_nothing_to_its_next_one() -> None:
    async with line() as it:
        slot, first = it.start()
        note(it, slot, Verdict.CRASHED)
        await it.next_engine()
        assert isinstance(first.exception(), EngineCrash)
        it.link.release(it.model, slot)
        again, _ = it.start()
        assert again == slot
        engine = await it.next_engine()
        await look_once()
        assert rows(engine) == [(0, slot)]


async def test_a_row_waits_for_as_many_engines_as_its_deadline_allows() -> None:
    async with line(attached=False) as it:
        slot, answered = it.start()
        for _ in range(3):
            engine = await it.next_engine()
            await look_once()
            assert rows(engine) == [(0, slot)]
        engine.answer((0, slot))
        await answered


async def test_the_last_verdicts_of_an_engine_are_heard_before_its_successor() -> None:
    async with line() as it:
        slot, answered = it.start()
        await look_once()
        it.engine.answer((0, slot))
        it.engine.die()
        engine = FakeEngine(it.models, None).connect(it.link)
        assert answered.done()
        await look_once()
        assert rows(engine) == []
        it.engine = engine


@pytest.mark.row(94)
async def test_a_row_that_no_engine_can_answer_in_time_is_refused_at_once() -> None:
    async with line() as it:
        it.engine.die()
        await look_once()
        slot = hold(it.model, 1)[0]
        now_s = time.monotonic()
        it.model.deadline_s[slot] = now_s + 5
        it.link.expect(now_s + 4)
        waits = it.submit(it.model, slot)
        it.link.expect(now_s + 8)
        with pytest.raises(Unavailable) as caught:
            it.submit(it.model, slot)
        assert caught.value.retry_after_s == 8
        assert not waits.done()


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
