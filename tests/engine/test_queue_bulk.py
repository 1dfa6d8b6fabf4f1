"""The queue's bulk batches: which begin, which end, and what waits again."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue

import pytest

from inferctl.engine import batcher as batcher_module
from inferctl.engine.batcher import Batcher
from inferctl.engine.lane import Row
from inferctl.engine.occupancy import SHORT_S, Occupancy
from inferctl.engine.queue import RowQueue
from inferctl.engine.watchdog import Stint

from .test_queue import MOMENT_S, TIMEOUT_S, in_thread, new_queue, rows, slots, until


@pytest.fixture(autouse=True)
def nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a test says so."""
    monkeypatch.setattr(batcher_module, "BULK_AGEING_S", 1000.0)


def bulk(*slots: int) -> list[Row]:
    return [row._replace(bulk=True) for row in rows(*slots)]


def taking(queue: RowQueue) -> SimpleQueue[list[int]]:
    """Takes one batch, once it may."""
    taken: SimpleQueue[list[int]] = SimpleQueue()
    in_thread(lambda: taken.put(slots(queue.get())))
    until(lambda: queue._waiting[""] == 1)
    return taken


def test_bulk_rows_are_taken_once_the_interactive_batch_is_done() -> None:
    queue = new_queue(Batcher(4, run_s=1))
    queue.put(rows(1))
    interactive = queue.get()
    queue.put(bulk(2, 3))
    taken = taking(queue)
    with pytest.raises(Empty):
        taken.get(timeout=MOMENT_S)
    assert interactive is not None
    queue.done(interactive)
    assert taken.get(timeout=TIMEOUT_S) == [2, 3]


def test_bulk_rows_are_taken_beside_interactive_ones_when_they_are_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batcher_module, "BULK_AGEING_S", MOMENT_S)
    queue = new_queue(Batcher(4, run_s=SHORT_S))
    queue.put(rows(1))
    queue.get()
    begun_s = time.monotonic()
    queue.put(bulk(2))
    assert slots(queue.get()) == [2]
    assert time.monotonic() - begun_s >= MOMENT_S


def test_bulk_rows_wait_for_interactive_ones_of_another_model() -> None:
    occupancy = Occupancy()
    queues = [RowQueue(Batcher(4, run_s=1), lambda slot: False, occupancy) for _ in range(2)]
    for queue in queues:
        occupancy.watch(queue)
    queues[0].put(bulk(2))
    queues[1].put(rows(1))
    taken = taking(queues[0])
    assert taken.empty()
    queues[1].remove(lambda slot: True)  # their worker died
    assert taken.get(timeout=TIMEOUT_S) == [2]


def test_without_waiting_bulk_rows_are_taken_at_once() -> None:
    """Whoever does not wait would not be told."""
    queue = new_queue(Batcher(4, run_s=1))
    queue.put(rows(1))
    queue.get()
    queue.put(bulk(2))
    assert slots(queue.get(wait=False)) == [2]


@pytest.mark.parametrize(("run_s", "gives_way"), [(2 * SHORT_S, True), (SHORT_S / 2, False)])
def test_bulk_batches_give_way_to_interactive_rows_if_it_is_worth_it(
    run_s: float, gives_way: bool
) -> None:
    queue, stint = new_queue(Batcher(4, run_s=run_s)), Stint(lambda rows, patience: 1.0)
    queue.put(bulk(1))
    queue.get(stint=stint)
    assert bool(queue._occupancy.endable) is gives_way
    queue.put(bulk(2))
    assert not stint.gives_way
    queue.put(rows(3))
    assert stint.gives_way is gives_way


def test_bulk_goes_on_beside_another_model_whose_runs_are_short() -> None:
    """Which may come thousands of times a second."""
    occupancy, stint = Occupancy(), Stint(lambda rows, patience: 1.0)
    long, short = (
        RowQueue(Batcher(4, run_s=run_s), lambda slot: False, occupancy) for run_s in (1, 0.0001)
    )
    for queue in (long, short):
        occupancy.watch(queue)
    long.put(bulk(1))
    long.get(stint=stint)
    short.put(rows(2))
    assert not stint.gives_way
    long.put(bulk(3))
    assert slots(long.get(wait=True)) == [3], "though that one waits"
    batch = short.get(wait=False)
    long.put(bulk(4))
    assert slots(long.get(wait=True)) == [4], "or runs"
    assert batch is not None
    short.done(batch)
    assert not stint.gives_way


def test_a_batch_that_gave_way_waits_again() -> None:
    queue, stint = new_queue(Batcher(4, run_s=1)), Stint(lambda rows, patience: 1.0)
    queue.put(bulk(1))
    batch = queue.get(stint=stint)
    queue.put([*bulk(2), *rows(3)])
    assert batch is not None
    queue.done(batch, gave_way=True)
    interactive = queue.get(stint=stint)
    assert slots(interactive) == [3]
    assert interactive is not None
    assert interactive.is_alone
    queue.done(interactive)
    assert slots(queue.get(stint=stint)) == [1, 2]


def test_evict_takes_out_rows_that_gave_way_meanwhile() -> None:
    queue, stint = new_queue(Batcher(4, run_s=1)), Stint(lambda rows, patience: 1.0)
    queue.put(bulk(1, 10))
    batch = queue.get(stint=stint)
    assert batch is not None
    lost: SimpleQueue[list[Row]] = SimpleQueue()
    in_thread(lambda: lost.put(queue.evict(lambda slot: slot >= 10)))
    with pytest.raises(Empty):
        lost.get(timeout=MOMENT_S)
    queue.done(batch, gave_way=True)
    assert [row.slot for row in lost.get(timeout=TIMEOUT_S)] == [10]
    assert slots(queue.get()) == [1]


def test_bulk_rows_that_were_run_are_not_due_for_a_while() -> None:
    batcher = Batcher(1)
    queue = new_queue(batcher)
    queue.put(bulk(1, 2))
    batch = queue.get()
    assert batch is not None
    now_s = time.monotonic()
    queue.done(batch)
    assert batcher.bulk_due_s() >= now_s + batcher_module.BULK_AGEING_S


def test_whose_turn_it_is_is_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are found to take longer have bulk rows wait longer: from the next batch on."""
    monkeypatch.setattr(batcher_module, "BULK_AGEING_S", 0.0)
    batcher = Batcher(4)
    queue = new_queue(batcher)
    occupancy = queue._occupancy
    enter_bulk = occupancy.enter_bulk

    def enter_and_observe(device: str, stint: Stint | None, is_due: bool) -> bool:
        batcher.run_s = 1000
        return enter_bulk(device, stint, is_due)

    monkeypatch.setattr(occupancy, "enter_bulk", enter_and_observe)
    queue.put([*rows(1), *bulk(2)])
    batch = queue.get()
    assert slots(batch) == [2]
    assert batch is not None
    queue.done(batch)
    interactive = queue.get()
    assert slots(interactive) == [1]
    assert interactive is not None
    assert interactive.is_alone


def test_only_runners_of_bulk_rows_look_again() -> None:
    queue = new_queue(Batcher(4))
    woken: list[None] = []
    queue._changed.notify_all = lambda: woken.append(None)  # type: ignore[method-assign]
    queue.look_again()
    assert not woken
    queue.put(bulk(1))
    queue.look_again()
    assert woken


def test_rows_are_urgent_where_their_model_has_a_runner() -> None:
    queue = new_queue(Batcher(4, run_s=1))
    queue.put(rows(1, 2))
    assert queue.has_urgent("cuda:1")
    batch = queue.get(device="cuda:0")
    queue.put(rows(3))
    assert batch is not None
    assert (queue.has_urgent("cuda:0"), queue.has_urgent("cuda:1")) == (True, False)
