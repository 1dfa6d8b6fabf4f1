"""Rows between a worker and its engine, over a real socket."""

from __future__ import annotations

import asyncio
import random

import pytest

from inferctl.arena.wire import Verdict, encode_records
from inferctl.refusals import (
    DeadlineExceeded,
    EngineCrash,
    OutOfMemory,
    RequestError,
    RowFailed,
    Unavailable,
)

from .line import line, rows
from .loop import look_once
from .wiring import SLOTS, hold


async def test_a_row_that_is_done_is_told() -> None:
    async with line() as it:
        slot, answered = it.start()
        assert await it.engine.next() == (0, slot)
        assert not answered.done()
        it.engine.answer((0, slot))
        await answered
        assert it.model.arena.submitted_s[slot] > 0


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        (Verdict.EXPIRED, DeadlineExceeded),
        (Verdict.FAILED, RowFailed),
        (Verdict.CANCELLED, RowFailed),
        (Verdict.TIMED_OUT, DeadlineExceeded),
        (Verdict.OUT_OF_MEMORY, OutOfMemory),
        (Verdict.CRASHED, EngineCrash),
        (Verdict.UNLOADED, Unavailable),
    ],
)
async def test_other_verdicts_fail_the_request(verdict: Verdict, error: type[RequestError]) -> None:
    async with line() as it:
        slot, answered = it.start()
        it.engine.answer((0, slot), verdict)
        with pytest.raises(error):
            await answered


async def test_verdicts_find_their_model_and_row_in_any_order() -> None:
    async with line() as it:
        mine = [it.start() for _ in range(3)]
        other = it.submit(it.models[1], 0)
        it.engine.answer((1, 0))
        await other
        assert not any(answered.done() for _, answered in mine)
        for slot, answered in reversed(mine):
            it.engine.answer((0, slot))
            await answered


async def test_a_verdict_may_come_in_pieces() -> None:
    async with line() as it:
        (first, one), (second, two) = it.start(), it.start()
        data = encode_records([(first, 0, Verdict.DONE), (second, 0, Verdict.DONE)])
        it.engine.send(data[:11])
        await one
        assert not two.done()
        it.engine.send(data[11:])
        await two


async def test_a_finished_row_frees_its_slot_on_release() -> None:
    async with line() as it:
        slot, answered = it.start()
        it.engine.answer((0, slot))
        await answered
        assert it.free() == SLOTS - 1
        it.link.release(it.model, slot)
        assert it.free() == SLOTS


async def test_a_row_that_was_never_submitted_frees_its_slot_on_release() -> None:
    async with line() as it:
        it.link.release(it.model, *hold(it.model, 1))
        assert it.free() == SLOTS


@pytest.mark.parametrize("verdict", [Verdict.DONE, Verdict.CANCELLED, Verdict.FAILED])
async def test_a_row_released_too_early_frees_its_slot_with_its_verdict(verdict: Verdict) -> None:
    async with line() as it:
        slot, answered = it.start()
        it.link.release(it.model, slot)
        assert it.model.arena.cancelled[slot] == 1
        assert it.free() == SLOTS - 1
        it.engine.answer((0, slot), verdict)
        await look_once()
        assert it.free() == SLOTS
        assert not answered.done()


async def test_a_row_released_too_early_dies_with_its_engine() -> None:
    async with line() as it:
        slot, _ = it.start()
        it.link.release(it.model, slot)
        engine = await it.next_engine()
        await look_once()
        assert rows(engine) == []
        assert it.free() == SLOTS


async def test_a_request_hears_of_each_of_its_rows() -> None:
    async with line() as it:
        slots = hold(it.model, 3)
        answered = it.submit(it.model, *slots)
        assert [await it.engine.next() for _ in slots] == [(0, slot) for slot in slots]
        for slot in reversed(slots):
            assert not answered.done()
            it.engine.answer((0, slot))
            await look_once()
        assert answered.done()


async def test_a_request_of_which_one_row_failed_hears_nothing_of_the_rows_it_released() -> None:
    async with line() as it:
        slots = first, second, third = hold(it.model, 3)
        answered = it.submit(it.model, *slots)
        it.engine.answer((0, second), Verdict.FAILED)
        with pytest.raises(RowFailed):
            await answered
        for slot in slots:
            it.link.release(it.model, slot)
        assert it.free() == SLOTS - 2, "the engine has the other two"
        it.engine.answer((0, first))
        it.engine.answer((0, third), Verdict.FAILED)
        await look_once()
        assert it.free() == SLOTS


@pytest.mark.parametrize("seed", range(10))
async def test_no_slot_is_ever_in_two_hands(seed: int) -> None:
    """Whatever happens, a slot is free or has one owner; in the end all are free."""
    rng = random.Random(seed)
    async with line() as it:
        held: dict[int, asyncio.Future[None]] = {}
        running: set[int] = set()
        for _ in range(400):
            action = rng.choice(("start", "start", "release", "verdict", "verdict", "die"))
            if action == "start" and it.free():
                slot, answered = it.start()
                assert slot not in held
                assert slot not in running
                held[slot] = answered
                running.add(slot)
            elif action == "release" and held:
                slot = rng.choice(sorted(held))
                it.link.release(it.model, slot)
                held.pop(slot).cancel()
            elif action == "verdict" and running:
                slot = rng.choice(sorted(running))
                it.engine.answer((0, slot), rng.choice((Verdict.DONE, Verdict.FAILED)))
                running.remove(slot)
                await look_once()
            elif action == "die" and rng.random() < 0.2:
                engine = await it.next_engine()
                await look_once()
                running = {slot for _, slot in rows(engine)}
                assert running <= held.keys()
        for slot in held:
            it.link.release(it.model, slot)
        await it.next_engine()
        assert it.free() == SLOTS
        for answered in held.values():
            if answered.done() and not answered.cancelled():
                answered.exception()


async def test_a_version_has_left_with_the_verdict_of_its_last_row() -> None:
    """Its request was over before."""
    async with line() as it:
        left: list[bool] = []
        slot, _ = it.start()
        it.model.leave(lambda: left.append(True))
        it.link.release(it.model, slot)
        await look_once()
        assert not left
        it.engine.answer((0, slot))
        await look_once()
        assert left


async def test_a_version_that_was_removed_leaves_no_trace_in_its_place() -> None:
    async with line() as it:
        slot, answered = it.start()
        it.engine.answer((0, slot))
        await answered
        it.link.release(it.model, slot)
        it.link.remove(it.model)
        await it.next_engine()
        it.link.add(it.model)
        slot, answered = it.start()
        assert await it.engine.next() == (0, slot)
