"""The queue between the reader and the runner threads, with real threads."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from inferctl.engine.batcher import Batch, Batcher
from inferctl.engine.lane import Row
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.queue import RowQueue

# Longer than any of these takes; reached only by a test that fails.
TIMEOUT_S = 10.0
# What should not happen would have happened by then.
MOMENT_S = 0.05


def rows(*slots: int) -> list[Row]:
    now_s = time.monotonic()
    return [Row(slot, now_s, now_s + 1000) for slot in slots]


def slots(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [row.slot for row in batch.rows]


def new_queue(batcher: Batcher, cancelled: tuple[int, ...] = ()) -> RowQueue:
    occupancy = Occupancy()
    queue = RowQueue(batcher, cancelled.__contains__, occupancy)
    occupancy.watch(queue)
    return queue


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(TIMEOUT_S)
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.row(13)
def test_put_wakes_an_idle_runner() -> None:
    queue = new_queue(Batcher(4))
    taken: SimpleQueue[list[int]] = SimpleQueue()

    def work() -> None:
        while (batch := queue.get()) is not None:
            taken.put(slots(batch))

    runner = in_thread(work)
    for number in range(50):
        queue.put(rows(number))
        assert taken.get(timeout=TIMEOUT_S) == [number]
    queue.close()
    assert ended(runner)


def test_close_sends_every_idle_runner_home() -> None:
    queue = new_queue(Batcher(4))
    home: SimpleQueue[Batch | None] = SimpleQueue()
    runners = [in_thread(lambda: home.put(queue.get())) for _ in range(3)]
    queue.close()
    assert [home.get(timeout=TIMEOUT_S) for _ in runners] == [None] * 3


def test_rows_that_wait_when_the_queue_closes_are_not_run() -> None:
    queue = new_queue(Batcher(4))
    queue.put(rows(1))
    queue.close()
    assert queue.get() is None
    assert len(queue) == 1


def test_rows_left_over_wake_a_second_runner() -> None:
    """One `put` larger than a batch occupies both runners at the same time."""
    queue = new_queue(Batcher(2))
    both = threading.Barrier(2)
    taken: SimpleQueue[list[int]] = SimpleQueue()

    def work() -> None:
        while (batch := queue.get()) is not None:
            both.wait(TIMEOUT_S)
            taken.put(slots(batch))

    runners = [in_thread(work) for _ in range(2)]
    for first in range(0, 80, 4):
        queue.put(rows(*range(first, first + 4)))
        pairs = sorted(taken.get(timeout=TIMEOUT_S) for _ in range(2))
        assert pairs == [[first, first + 1], [first + 2, first + 3]]
    queue.close()
    assert ended(*runners)


def test_runners_share_rows_without_loss() -> None:
    total, most = 2000, 7
    queue = new_queue(Batcher(most))
    taken: SimpleQueue[list[int]] = SimpleQueue()

    def work() -> None:
        while (batch := queue.get()) is not None:
            taken.put(slots(batch))
            queue.done(batch)

    runners = [in_thread(work) for _ in range(3)]
    dice, sent = random.Random(5), 0
    while sent < total:
        size = min(dice.randint(1, 12), total - sent)
        queue.put(rows(*range(sent, sent + size)))
        sent += size
    seen: list[int] = []
    while len(seen) < total:
        batch = taken.get(timeout=TIMEOUT_S)
        assert 1 <= len(batch) <= most
        assert batch == sorted(batch)
        seen += batch
    queue.close()
    assert ended(*runners)
    assert sorted(seen) == list(range(total))
    assert taken.empty()


def test_a_held_batch_leaves_when_its_wait_is_over() -> None:
    queue = new_queue(Batcher(4, max_wait_s=0.02))
    begun_s = time.monotonic()
    queue.put(rows(1))
    assert slots(queue.get()) == [1]
    assert time.monotonic() - begun_s >= 0.02


def test_a_batch_that_fills_up_ends_its_hold() -> None:
    queue = new_queue(Batcher(2, max_wait_s=1000))
    taken: SimpleQueue[list[int]] = SimpleQueue()
    in_thread(lambda: taken.put(slots(queue.get())))
    queue.put(rows(1))
    queue.put(rows(2))
    assert taken.get(timeout=TIMEOUT_S) == [1, 2]


def test_an_urgent_row_ends_the_hold() -> None:
    queue = new_queue(Batcher(4, max_wait_s=1000, run_s=900))
    now_s = time.monotonic()
    queue.put([Row(1, now_s, now_s + 1e6), Row(2, now_s, now_s + 800)])
    assert slots(queue.get()) == [1, 2]


def test_cancelled_rows_come_out_as_dropped() -> None:
    queue = new_queue(Batcher(4), cancelled=(2,))
    queue.put(rows(1, 2, 3))
    batch = queue.get()
    assert slots(batch) == [1, 3]
    assert batch is not None
    assert [(row.slot, reason) for row, reason in batch.dropped] == [(2, "cancelled")]


def test_evict_returns_the_waiting_rows_of_the_lost() -> None:
    queue = new_queue(Batcher(4))
    queue.put(rows(1, 10, 2, 11))
    assert [row.slot for row in queue.evict(lambda slot: slot >= 10)] == [10, 11]
    assert slots(queue.get()) == [1, 2]


def test_evict_does_not_wait_for_the_rows_of_others() -> None:
    queue = new_queue(Batcher(1))
    queue.put(rows(1, 10))
    assert slots(queue.get()) == [1]
    assert [row.slot for row in queue.evict(lambda slot: slot >= 10)] == [10]


@pytest.mark.parametrize("cancelled", [(), (10,)])
def test_evict_waits_until_no_row_of_the_lost_is_in_a_batch(cancelled: tuple[int, ...]) -> None:
    """Dropped rows too: their verdicts must not reach the dead worker's successor."""
    queue = new_queue(Batcher(4), cancelled)
    queue.put(rows(1, 10))
    batch = queue.get()
    assert batch is not None
    evicting = in_thread(lambda: queue.evict(lambda slot: slot >= 10))
    evicting.join(MOMENT_S)
    assert evicting.is_alive()
    queue.done(batch)
    assert ended(evicting)


def test_evict_waits_for_a_slot_that_was_submitted_again_before_done() -> None:
    """A worker reuses a slot as soon as it has the verdict, which is before `done`."""
    queue = new_queue(Batcher(4))
    queue.put(rows(10))
    first = queue.get()
    queue.put(rows(10))
    second = queue.get()
    assert first is not None
    assert second is not None
    queue.done(first)
    evicting = in_thread(lambda: queue.evict(lambda slot: slot >= 10))
    evicting.join(MOMENT_S)
    assert evicting.is_alive()
    queue.done(second)
    assert ended(evicting)


@pytest.mark.parametrize("order", [("busy", "free"), ("free", "busy")])
def test_a_batch_goes_to_who_waits_on_a_device_that_runs_fewer(order: tuple[str, str]) -> None:
    """Whoever has waited the longest."""
    queue = new_queue(Batcher(1))
    taken: SimpleQueue[tuple[str, list[int]]] = SimpleQueue()
    queue.put(rows(0))
    running = queue.get(device="busy")
    waiting = []
    for device in order:
        waiting.append(in_thread(lambda d=device: taken.put((d, slots(queue.get(device=d))))))  # type: ignore[misc]
        until(lambda d=device: queue._waiting[d] == 1)  # type: ignore[misc]
    queue.put(rows(1))
    assert taken.get(timeout=TIMEOUT_S) == ("free", [1])
    queue.put(rows(2))
    assert taken.get(timeout=TIMEOUT_S) == ("busy", [2]), "nobody else waits"
    assert ended(*waiting)
    assert running is not None
    queue.done(running)
    assert queue._busy == {"busy": 1, "free": 1}


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_whatever_devices_there_are_every_row_is_taken_once(devices: int) -> None:
    queue = new_queue(Batcher(3))
    taken: SimpleQueue[list[int]] = SimpleQueue()

    def work(device: str) -> None:
        while (batch := queue.get(device=device)) is not None:
            taken.put(slots(batch))
            queue.done(batch)

    runners = [in_thread(lambda d=str(n % devices): work(d)) for n in range(6)]  # type: ignore[misc]
    found: list[int] = []
    for first in range(0, 600, 2):
        queue.put(rows(first, first + 1))
    while len(found) < 600:
        found += taken.get(timeout=TIMEOUT_S)
    assert sorted(found) == list(range(600))
    queue.close()
    assert ended(*runners)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what other threads do at once."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline_s
