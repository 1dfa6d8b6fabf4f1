"""Who is let in by one model's door, who is not, and what they are told."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from inferctl.arena.ledger import Ledger
from inferctl.refusals import Overloaded, TooLarge
from inferctl.server import admission
from inferctl.server.admission import (
    LONGEST_RETRY_S,
    MOST_TOLD,
    OVERLOAD_S,
    SHORT_QUEUE_BATCHES,
    SHORT_QUEUE_SHARE,
    TELL_EVERY_S,
    TOLD_PER_S,
)
from inferctl.settings import LimitsSettings, ModelSettings
from tests.tasks.tinybundles import classifier

from .wiring import SLOTS, WORKER, ServedModel, hold, make_ledger, make_models

EVER = math.inf


@dataclass
class Door:
    """A model's, and what the engine and another worker say of it."""

    model: ServedModel
    ledger: Ledger

    def costs(self, row_s: float, batch_rows: int = 0, instances: int = 1) -> Door:
        """What the engine measured; batches of no rows add nothing to the wait."""
        engine = self.ledger.blocks[Ledger.ENGINE]
        engine.cell("inferctl_row_seconds", 0).set(row_s)
        engine.cell("inferctl_max_batch_rows", 0).set(batch_rows)
        engine.cell("inferctl_instances", 0).set(instances)
        return self

    def others_hold(self, rows: int) -> Door:
        self.ledger.blocks[WORKER + 1].cell("inferctl_in_flight", 0).set(rows)
        return self

    def others_hold_bulk(self, rows: int) -> Door:
        self.ledger.blocks[WORKER + 1].cell("inferctl_bulk_in_flight", 0).set(rows)
        return self.others_hold(rows)

    def ask(
        self, left_s: float = EVER, rows: int = 1, now_s: float | None = None,
        bulk: bool = False, key_rows: int | None = None,
    ) -> None:  # fmt: skip
        now_s = time.monotonic() if now_s is None else now_s
        self.model.admit(rows, now_s + left_s, now_s, 0, key_rows, bulk)

    def refusal(self, left_s: float = EVER, now_s: float | None = None) -> Overloaded:
        with pytest.raises(Overloaded) as caught:
            self.ask(left_s, now_s=now_s)
        return caught.value


def door_of(slots: int = SLOTS, workers: int = 2, **limits: int) -> Door:
    ledger = make_ledger("animals", workers=workers)
    settings = ModelSettings(limits=LimitsSettings(**limits))
    (model,) = make_models(
        classifier(), ledger=ledger, slots=slots, workers=workers, settings=settings
    )
    return Door(model, ledger)


@pytest.fixture
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission.random, "uniform", lambda *_: 1.0)


def test_slots_are_handed_out_once_each() -> None:
    (model,) = make_models(classifier(), slots=3)
    assert sorted(hold(model, 1) + hold(model, 2)) == [0, 1, 2]
    with pytest.raises(Overloaded, match="queue is full") as caught:
        hold(model, 1)
    assert caught.value.reason == "queue"
    model.give_back(1)
    assert hold(model, 1) == [1]


def test_rows_that_do_not_all_fit_get_no_slot() -> None:
    (model,) = make_models(classifier(), slots=3)
    (held,) = hold(model, 1)
    with pytest.raises(Overloaded):
        hold(model, 3)
    model.give_back(held)
    assert len(hold(model, 3)) == 3


@pytest.mark.parametrize(("rows", "held"), [(4, 0), (3, 1), (1, 3)])
def test_more_rows_than_can_ever_fit_are_too_large(rows: int, held: int) -> None:
    (model,) = make_models(classifier(), slots=3)
    with pytest.raises(TooLarge, match="more than 3 rows"):
        hold(model, rows, held=held)
    assert len(hold(model, 3)) == 3


@pytest.mark.parametrize(("theirs", "mine"), [(0, 8), (3, 5), (4, 4), (5, 4), (8, 4)])
def test_a_worker_has_its_share_of_the_queue_and_what_the_others_leave(
    theirs: int, mine: int
) -> None:
    door = door_of().others_hold(theirs)
    slots = [hold(door.model, 1) for _ in range(mine)]
    assert len({slot for (slot,) in slots}) == mine
    assert door.refusal().reason == "queue"


@pytest.mark.usefixtures("no_spread")
@pytest.mark.parametrize("row_s", [2.0, 1.3, 1.01])
def test_a_row_that_would_be_run_too_late_is_refused_until_those_before_it_are_run(
    row_s: float,
) -> None:
    """Five rows wait, two of them another worker's."""
    door = door_of().costs(row_s).others_hold(2)
    hold(door.model, 3)
    refusal = door.refusal(left_s=5)
    assert (refusal.reason, str(refusal.what)) == (
        "deadline",
        "the queue is too long for the deadline",
    )
    assert refusal.retry_after_s == pytest.approx(5 * row_s)
    door.ask(left_s=200)  # it has more time


def test_a_row_must_be_done_in_time_with_those_that_are_run_with_it() -> None:
    door = door_of().costs(1.0, batch_rows=2)
    hold(door.model, 3)
    assert door.refusal(left_s=5.9).reason == "deadline"
    door.ask(left_s=6.1)  # five rows, and a fifth of their time as a reserve


def test_without_rows_before_it_a_row_is_taken_however_slow_the_model_is() -> None:
    door = door_of().costs(1e6, batch_rows=8)
    door.ask(left_s=5)


@pytest.mark.parametrize("key_rows", [None, 1])
def test_a_job_does_not_keep_out_requests_that_its_rows_give_way_to(key_rows: int | None) -> None:
    """But for one batch of them, whose run may go on."""
    door = door_of(slots=40).costs(1.0, batch_rows=2).others_hold_bulk(16)
    with pytest.raises(Overloaded) as caught:
        door.ask(left_s=15, key_rows=key_rows, bulk=True)
    assert caught.value.reason == ("fair_share" if key_rows else "deadline")
    door.ask(left_s=5, key_rows=key_rows)
    with pytest.raises(Overloaded):
        door.ask(left_s=2.3, key_rows=key_rows)


def full_door(row_s: float, **costs: int) -> Door:
    """Twenty rows that wait since 100 s, and somebody who was refused then."""
    door = door_of(slots=20, workers=1).costs(row_s, **costs)
    for _ in range(20):
        door.ask(now_s=100)
    assert door.refusal(now_s=100).reason == "queue"
    return door


@pytest.mark.row(3)
def test_once_somebody_was_refused_the_queue_is_kept_short_until_nobody_was_for_a_while() -> None:
    door = full_door(1.0)
    left_s = 5 / SHORT_QUEUE_SHARE
    door.model.cancel(14)  # they are run
    assert door.refusal(left_s, now_s=100 + OVERLOAD_S / 2).reason == "queue"
    door.model.cancel(1)
    door.ask(left_s, now_s=100 + OVERLOAD_S)
    assert door.refusal(left_s, now_s=100 + OVERLOAD_S).reason == "queue"
    for _ in range(3):
        door.ask(left_s, now_s=100.1 + 2 * OVERLOAD_S)


def test_a_short_queue_has_some_batches_for_every_runner() -> None:
    door = full_door(1.0, batch_rows=2, instances=2)
    door.model.cancel(20)
    for _ in range(SHORT_QUEUE_BATCHES * 2 * 2 + 1):
        door.ask(left_s=50, now_s=100)
    assert door.refusal(left_s=50, now_s=100).reason == "queue"


def test_clients_in_a_hurry_do_not_shorten_the_queue_of_others() -> None:
    door = door_of(slots=20, workers=1).costs(1.0, batch_rows=1)
    for _ in range(10):
        door.ask(now_s=100)
    assert door.refusal(left_s=4, now_s=100).reason == "deadline"
    door.ask(left_s=50, now_s=100)


def test_rows_take_no_more_memory_than_they_may() -> None:
    rows, mib = 3, 1024 * 1024
    ledger = make_ledger("animals")
    settings = ModelSettings(limits=LimitsSettings(memory_bytes=rows * mib))
    (model,) = make_models(classifier(512, 680), ledger=ledger, settings=settings)
    assert 0.9 * mib < model.arena.row_bytes < mib * 1.1
    hold(model, 2)
    with pytest.raises(Overloaded, match="in memory") as caught:
        hold(model, 2)
    assert caught.value.reason == "memory"


def test_bodies_and_rows_share_their_memory_and_the_first_one_always_fits() -> None:
    mib = 1024 * 1024
    door = door_of(workers=1, memory_bytes=mib)
    gate = door.model.admission
    gate.expect(5 * mib, EVER, 0)
    gate.hold(2 * mib, 0)
    gate.hold(3 * mib, 0, held=2 * mib)
    for ask in (lambda: gate.expect(1, EVER, 0), lambda: gate.hold(1, 0)):
        with pytest.raises(Overloaded) as caught:
            ask()
        assert caught.value.reason == "memory"
    gate.body_bytes -= 5 * mib
    gate.hold(mib // 2, 0)
    gate.hold(mib // 2, 0)


def test_who_announces_bodies_holds_nothing() -> None:
    mib = 1024 * 1024
    gate = door_of(workers=1, memory_bytes=mib).model.admission
    for _ in range(5):
        gate.expect(14 * mib, EVER, 0)
    gate.hold(mib, 0)


@pytest.mark.parametrize(("others_kib", "most_kib"), [(0, 819), (300, 579)])
def test_a_key_leaves_room_in_memory_for_others(others_kib: int, most_kib: int) -> None:
    """Four fifths of what the others leave, whether its bodies are announced or come."""
    kib = 1024
    gate = door_of(workers=1, memory_bytes=kib * kib).model.admission
    gate.hold((others_kib + 400) * kib, 0)
    most = (most_kib - 400) * kib
    for ask in (lambda size: gate.expect(size, EVER, 0, None, 400 * kib),
                lambda size: gate.hold(size, 0, 10 * kib, 390 * kib)):  # fmt: skip
        with pytest.raises(Overloaded, match="has its share") as caught:
            ask(most + kib)
        assert caught.value.reason == "fair_share"
        ask(most)


def test_a_body_that_is_to_come_has_no_place_yet() -> None:
    door = door_of(slots=1, workers=1)
    for _ in range(3):
        door.model.admission.expect(1, EVER, 0)
    (slot,) = hold(door.model, 1)
    with pytest.raises(Overloaded, match="queue is full"):
        door.model.admission.expect(1, EVER, 0)
    door.model.give_back(slot)


def test_a_worker_has_its_share_of_the_memory_for_bodies() -> None:
    mib = 1024 * 1024
    door = door_of(workers=2, memory_bytes=2 * mib)
    door.model.admission.hold(mib, 0)
    with pytest.raises(Overloaded):
        door.model.admission.expect(1, EVER, 0)


@pytest.fixture
def told(no_spread: None) -> Door:
    """A full queue of 8 rows of half a second."""
    door = door_of(workers=1).costs(0.5)
    hold(door.model, SLOTS)
    return door


def test_each_who_is_refused_is_told_a_moment_of_its_own(told: Door) -> None:
    """All of them together then ask for no more than can be run."""
    moments_s = [told.refusal(now_s=100).retry_after_s for _ in range(4)]
    assert moments_s == pytest.approx([4, 4.5, 5, 5.5])
    assert told.refusal(now_s=102).retry_after_s == pytest.approx(4), "two seconds have passed"


def test_who_had_his_share_takes_no_turn_of_others(told: Door) -> None:
    for _ in range(1000):
        assert told.model.admission.refuse("fair_share", 100).retry_after_s == pytest.approx(4)
    assert told.refusal(now_s=100).retry_after_s == pytest.approx(4)
    assert told.model.admission.refuse("fair_share", 100).retry_after_s == pytest.approx(4.5)


def test_workers_that_refuse_side_by_side_leave_room_for_each_other(no_spread: None) -> None:
    door = door_of(workers=2).costs(0.5).others_hold(4)
    hold(door.model, 4)
    moments_s = [door.refusal(now_s=100).retry_after_s for _ in range(2)]
    assert moments_s == pytest.approx([4, 5])


def test_nobody_is_told_to_come_back_in_an_hour(told: Door) -> None:
    moments_s = [told.refusal(now_s=100).retry_after_s for _ in range(1000)]
    assert max(moments_s) == LONGEST_RETRY_S


@pytest.mark.row(5)
def test_refused_clients_do_not_all_come_back_at_once() -> None:
    door = door_of(workers=1).costs(100.0)
    hold(door.model, SLOTS)
    told = [door.refusal().retry_after_s for _ in range(100)]
    assert len({math.ceil(seconds) for seconds in told}) >= 5
    assert 0.75 * LONGEST_RETRY_S <= min(told) < max(told) <= 1.25 * LONGEST_RETRY_S


class Crowd:
    """Who was refused, and has heard so, by a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shed = door_of().model.admission.shed
        self.told: list[int] = []
        self.refused = 0
        self.now_s = 1000.0
        clock = SimpleNamespace(monotonic=lambda: self.now_s)
        monkeypatch.setattr(admission, "time", clock)

    def refuse(self, count: int) -> None:
        for number in range(self.refused, self.refused + count):
            self.shed.tell(lambda number=number: self._hear(number))  # type: ignore[misc]
        self.refused += count

    def leave(self, count: int) -> None:
        """So many are refused who do not wait for it."""
        for _ in range(count):
            self.shed.tell(lambda: False)

    def _hear(self, number: int) -> bool:
        self.told.append(number)
        return True

    async def hears(self) -> int:
        """How many have heard after some time in which the clock stands still."""
        for _ in range(3):
            asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(TELL_EVERY_S, asked.set_result, None)
            await asked
        return len(self.told)


@pytest.mark.row(5)
async def test_refusals_are_told_in_groups_in_their_order_and_at_a_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(monkeypatch)
    crowd.refuse(MOST_TOLD + 100)
    assert crowd.told == []
    assert await crowd.hears() == MOST_TOLD, "this many were not told in quieter times"
    crowd.now_s += 50.5 / TOLD_PER_S
    assert await crowd.hears() == MOST_TOLD + 50
    crowd.now_s += 3600
    assert await crowd.hears() == MOST_TOLD + 100
    assert crowd.told == list(range(MOST_TOLD + 100))


@pytest.mark.row(5)
async def test_who_left_takes_no_turn_of_those_who_wait_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(monkeypatch)
    crowd.leave(10 * MOST_TOLD)
    crowd.refuse(MOST_TOLD)
    crowd.leave(10 * MOST_TOLD)
    crowd.refuse(1)
    assert await crowd.hears() == MOST_TOLD
    crowd.now_s += 1.5 / TOLD_PER_S
    assert await crowd.hears() == MOST_TOLD + 1


async def test_a_bug_in_one_who_is_told_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, strays = Crowd(monkeypatch), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, stray: strays.append(stray))
    crowd.shed.tell(lambda: bool(1 // 0))
    crowd.refuse(1)
    assert await crowd.hears() == 1
    assert [type(stray["exception"]) for stray in strays] == [ZeroDivisionError]
