"""The runner: one verdict per row, poison found by halving, drops counted."""

from __future__ import annotations

import random
import threading

import pytest

from inferctl.arena.ledger import BATCH_BUCKETS
from inferctl.arena.wire import Verdict
from inferctl.engine.batcher import Batcher

from .fakes import TIMEOUT_S, Bench, FakeModel

ALL_DONE = dict.fromkeys(range(64), Verdict.DONE)


@pytest.mark.parametrize("instances", [1, 2, 4])
def test_every_row_gets_one_verdict(instances: int) -> None:
    bench = Bench(FakeModel(), Batcher(5))
    bench.runner.start(instances)
    dice = random.Random(7)
    slots = list(range(64))
    dice.shuffle(slots)
    while slots:
        size = dice.randint(1, 9)
        bench.runner.submit(slots[:size])
        del slots[:size]
    assert bench.verdicts.take(64) == ALL_DONE
    bench.runner.stop()
    assert bench.verdicts.none_left()
    assert sorted(slot for batch in bench.model.ran for slot in batch) == list(range(64))
    assert max(len(batch) for batch in bench.model.ran) <= 5


def test_only_the_poisoned_row_fails() -> None:
    bench = Bench(FakeModel(poisoned=[5]), Batcher(8))
    bench.runner.submit(range(1, 9))
    bench.runner.start(1)
    verdicts = bench.verdicts.take(8)
    bench.runner.stop()
    assert [slot for slot, verdict in verdicts.items() if verdict == Verdict.FAILED] == [5]
    assert set(verdicts.values()) == {Verdict.DONE, Verdict.FAILED}
    assert bench.model.ran == [
        [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6], [7, 8],
    ]  # fmt: skip


@pytest.mark.parametrize("poisoned", [[0, 6], [1, 2, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_every_poisoned_row_fails_and_no_other(poisoned: list[int]) -> None:
    bench = Bench(FakeModel(poisoned), Batcher(8))
    bench.runner.submit(range(7))
    bench.runner.start(1)
    assert bench.verdicts.take(7) == {
        slot: Verdict.FAILED if slot in poisoned else Verdict.DONE for slot in range(7)
    }
    bench.runner.stop()
    assert bench.verdicts.none_left()


def test_only_rows_that_ran_are_counted() -> None:
    bench = Bench(FakeModel(poisoned=[5]), Batcher(8))
    bench.runner.submit(range(1, 9))
    bench.runner.start(1)
    bench.verdicts.take(8)
    bench.runner.stop()
    assert bench.count("inferctl_rows_total") == 7
    sizes = bench.cells("inference_batch_size")
    assert sizes[BATCH_BUCKETS.index(4)] == 1  # 1 2 3 4
    assert sizes[BATCH_BUCKETS.index(2)] == 1  # 7 8
    assert sizes[BATCH_BUCKETS.index(1)] == 1  # 6
    assert sizes[-1] == 7
    assert sum(bench.cells("inferctl_run_seconds")[:-1]) == 3


def test_dropped_rows_are_answered_counted_and_never_run() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.arena.deadline_s[[2, 3, 4]] = 0.0
    bench.arena.cancelled[5] = 1
    bench.runner.submit(range(1, 7))
    bench.runner.start(1)
    assert bench.verdicts.take(6) == {
        1: Verdict.DONE, 2: Verdict.EXPIRED, 3: Verdict.EXPIRED, 4: Verdict.EXPIRED,
        5: Verdict.CANCELLED, 6: Verdict.DONE,
    }  # fmt: skip
    bench.runner.stop()
    assert bench.model.ran == [[1, 6]]
    assert bench.count("inferctl_dropped_total", "expired") == 3
    assert bench.count("inferctl_dropped_total", "cancelled") == 1
    assert bench.count("inferctl_dropped_total", "worker_lost") == 0
    assert bench.count("inferctl_rows_total") == 2


def test_a_batch_of_dropped_rows_alone_runs_nothing() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.arena.cancelled[:] = 1
    bench.runner.submit([1, 2])
    bench.runner.start(1)
    assert set(bench.verdicts.take(2).values()) == {Verdict.CANCELLED}
    evicting = threading.Thread(target=bench.runner.evict, args=(0,), daemon=True)
    evicting.start()
    evicting.join(TIMEOUT_S)
    assert not evicting.is_alive()  # nothing of the batch is left behind as running
    bench.runner.stop()
    assert bench.model.ran == []


def test_a_row_cancelled_while_it_waits_is_not_run() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.runner.start(1)
    bench.hold(0)
    bench.runner.submit([1, 2])
    bench.arena.cancelled[1] = 1
    bench.model.open.set()
    verdicts = bench.verdicts.take(3)
    bench.runner.stop()
    assert verdicts == {0: Verdict.DONE, 1: Verdict.CANCELLED, 2: Verdict.DONE}
    assert bench.model.ran == [[0], [2]]


def test_rows_pile_up_while_the_runner_is_busy() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.runner.start(1)
    bench.hold(0)
    for slot in range(1, 5):
        bench.runner.submit([slot])
    assert bench.count("inferctl_queue_rows") == 4
    bench.model.open.set()
    bench.verdicts.take(5)
    bench.runner.stop()
    assert bench.model.ran == [[0], [1, 2, 3, 4]]
    assert bench.count("inferctl_queue_rows") == 0


def test_waiting_rows_of_a_dead_worker_are_forgotten_and_counted() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.runner.start(1)
    bench.hold(0)
    bench.runner.submit([1, 40, 2, 41, 42])  # worker 1 owns 32 and up
    bench.runner.evict(1)
    assert bench.count("inferctl_queue_rows") == 2
    assert bench.count("inferctl_dropped_total", "worker_lost") == 3
    bench.model.open.set()
    assert bench.verdicts.take(3) == dict.fromkeys((0, 1, 2), Verdict.DONE)
    bench.runner.stop()
    assert bench.verdicts.none_left()


def test_eviction_ends_after_the_verdicts_of_the_rows_that_ran() -> None:
    """A verdict that came later would reach the successor, which knows nothing of the row."""
    bench = Bench(FakeModel(), Batcher(8))
    bench.runner.start(1)
    bench.hold(40)
    unread: list[bool] = []

    def evict() -> None:
        bench.runner.evict(1)
        unread.append(bench.verdicts.none_left())

    evicting = threading.Thread(target=evict, daemon=True)
    evicting.start()
    evicting.join(0.05)
    assert evicting.is_alive()
    bench.model.open.set()
    evicting.join(TIMEOUT_S)
    assert unread == [False]  # it was delivered before
    assert bench.verdicts.take(1) == {40: Verdict.DONE}
    bench.runner.stop()


def test_stop_lets_the_running_batch_finish_and_no_other_begin() -> None:
    bench = Bench(FakeModel(), Batcher(8))
    bench.runner.start(2)
    bench.hold(0)
    bench.runner.queue.close()
    bench.runner.submit([1])
    bench.model.open.set()
    bench.runner.stop()
    assert bench.verdicts.take(1) == {0: Verdict.DONE}
    assert bench.verdicts.none_left()
    assert bench.model.ran == [[0]]


def test_instances_run_side_by_side() -> None:
    bench = Bench(FakeModel(), Batcher(1))
    bench.runner.start(2)
    bench.hold(0)
    bench.hold(1)  # begins though the first one has not ended
    bench.model.open.set()
    assert bench.verdicts.take(2) == {0: Verdict.DONE, 1: Verdict.DONE}
    bench.runner.stop()
