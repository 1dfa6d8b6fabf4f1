"""The runner: one verdict per row, poison found by halving, drops counted."""

from __future__ import annotations

import random
import threading
import weakref
from itertools import count
from typing import Any, cast

import pytest

from inferctl.arena.metric import BATCH_BUCKETS
from inferctl.arena.wire import Verdict
from inferctl.engine.execution import INLINE_RUN_S, SHORT_RUNS_PER_MEASURED
from inferctl.engine.instance import Instance
from inferctl.engine.model import Model
from inferctl.engine.runner import runs_inline
from inferctl.engine.session import DeviceLost
from inferctl.engine.sizing import RECONSIDER_RUNS
from inferctl.engine.wide import Wide
from inferctl.settings import BatchingSettings, RuntimeSettings

from .fakes import TIMEOUT_S, Bench, FakeModel, warmed

ALL_DONE = dict.fromkeys(range(64), Verdict.DONE)


@pytest.mark.parametrize("instances", [1, 2, 4])
def test_every_row_gets_one_verdict(instances: int) -> None:
    bench = Bench(FakeModel(), 5)
    bench.start(instances)
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


@pytest.mark.row(80)
def test_only_the_poisoned_row_fails(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(FakeModel(poisoned=[5]), 8)
    bench.runner.submit(range(1, 9))
    bench.start(1)
    verdicts = bench.verdicts.take(8)
    bench.runner.stop()
    assert [slot for slot, verdict in verdicts.items() if verdict == Verdict.FAILED] == [5]
    assert set(verdicts.values()) == {Verdict.DONE, Verdict.FAILED}
    assert capsys.readouterr().err == "inferctl: pixels: 1 row failed, the last one: poison\n"
    assert bench.model.ran == [
        [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6], [7, 8],
    ]  # fmt: skip


def test_a_device_that_is_lost_answers_nobody_and_runs_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would fail the quickest, and so take the batches of the others."""
    bench = Bench(FakeModel(), 8)

    def lose(*_: Any) -> None:
        raise DeviceLost("CUDA failure 719")

    monkeypatch.setattr(bench.model, "run", lose)
    bench.runner.submit(range(4))
    with pytest.raises(DeviceLost):
        bench.runner.step()
    assert bench.verdicts.none_left()
    assert bench.count("inferctl_poisoned_rows_total") == 0


@pytest.mark.row(82)
@pytest.mark.parametrize(("first", "second"), [(0, 31), (15, 16), (7, 8), (3, 3)])
def test_two_bad_rows_of_many_are_found_in_a_few_runs(first: int, second: int) -> None:
    bench = Bench(FakeModel(poisoned=[first, second]), 32)
    bench.runner.submit(range(32))
    bench.runner.step()
    verdicts = bench.verdicts.take(32)
    assert {slot for slot, verdict in verdicts.items() if verdict != Verdict.DONE} == {
        first, second,
    }  # fmt: skip
    assert len(bench.model.ran) <= 4 * 5 + 3
    assert bench.count("inferctl_bisects_total") == 1
    assert bench.count("inferctl_poisoned_rows_total") == len({first, second})


@pytest.mark.row(82)
@pytest.mark.parametrize(("rows", "most_runs"), [(32, 4 * 5 + 3), (64, 4 * 6 + 3), (2, 8)])
def test_a_batch_of_which_nothing_runs_is_given_up(rows: int, most_runs: int) -> None:
    bench = Bench(FakeModel(poisoned=range(64)), rows)
    bench.runner.submit(range(rows))
    bench.runner.step()
    assert bench.verdicts.take(rows) == dict.fromkeys(range(rows), Verdict.FAILED)
    assert len(bench.model.ran) <= most_runs
    assert bench.count("inferctl_poisoned_rows_total") == rows


@pytest.mark.row(82)
def test_where_something_runs_every_good_row_is_found() -> None:
    bad = [slot for slot in range(32) if slot % 4]
    bench = Bench(FakeModel(poisoned=bad), 32)
    bench.runner.submit(range(32))
    bench.runner.step()
    verdicts = bench.verdicts.take(32)
    assert [slot for slot, verdict in verdicts.items() if verdict == Verdict.FAILED] == bad


@pytest.mark.parametrize("poisoned", [[0, 6], [1, 2, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_every_poisoned_row_fails_and_no_other(poisoned: list[int]) -> None:
    bench = Bench(FakeModel(poisoned), 8)
    bench.runner.submit(range(7))
    bench.start(1)
    assert bench.verdicts.take(7) == {
        slot: Verdict.FAILED if slot in poisoned else Verdict.DONE for slot in range(7)
    }
    bench.runner.stop()
    assert bench.verdicts.none_left()


def test_only_rows_that_ran_are_counted() -> None:
    bench = Bench(FakeModel(poisoned=[5]), 8)
    bench.runner.submit(range(1, 9))
    bench.start(1)
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
    bench = Bench(FakeModel(), 8)
    bench.arena.deadline_s[[2, 3, 4]] = 0.0
    bench.arena.cancelled[5] = 1
    bench.runner.submit(range(1, 7))
    bench.start(1)
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
    bench = Bench(FakeModel(), 8)
    bench.arena.cancelled[:] = 1
    bench.runner.submit([1, 2])
    bench.start(1)
    assert set(bench.verdicts.take(2).values()) == {Verdict.CANCELLED}
    evicting = threading.Thread(target=bench.runner.evict, args=(0,), daemon=True)
    evicting.start()
    evicting.join(TIMEOUT_S)
    assert not evicting.is_alive()  # nothing of the batch is left behind as running
    bench.runner.stop()
    assert bench.model.ran == []


def test_a_row_cancelled_while_it_waits_is_not_run() -> None:
    bench = Bench(FakeModel(), 8)
    bench.start(1)
    bench.hold(0)
    bench.runner.submit([1, 2])
    bench.arena.cancelled[1] = 1
    bench.model.open.set()
    verdicts = bench.verdicts.take(3)
    bench.runner.stop()
    assert verdicts == {0: Verdict.DONE, 1: Verdict.CANCELLED, 2: Verdict.DONE}
    assert bench.model.ran == [[0], [2]]


def test_rows_pile_up_while_the_runner_is_busy() -> None:
    bench = Bench(FakeModel(), 8)
    bench.start(1)
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
    bench = Bench(FakeModel(), 8)
    bench.start(1)
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
    bench = Bench(FakeModel(), 8)
    bench.start(1)
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
    bench = Bench(FakeModel(), 8)
    bench.start(2)
    bench.hold(0)
    bench.runner.queue.close()
    bench.runner.submit([1])
    bench.model.open.set()
    bench.runner.stop()
    assert bench.verdicts.take(1) == {0: Verdict.DONE}
    assert bench.verdicts.none_left()
    assert bench.model.ran == [[0]]


def test_instances_run_side_by_side() -> None:
    bench = Bench(FakeModel(), 1)
    bench.start(2)
    bench.hold(0)
    bench.hold(1)  # begins though the first one has not ended
    bench.model.open.set()
    assert bench.verdicts.take(2) == {0: Verdict.DONE, 1: Verdict.DONE}
    bench.runner.stop()


@pytest.mark.row(86)
def test_a_batch_too_large_for_the_memory_is_halved_and_the_size_remembered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    bench = Bench(FakeModel(memory_rows=2), 8)
    bench.runner.submit(range(16))
    bench.start(1)
    assert bench.verdicts.take(16) == dict.fromkeys(range(16), Verdict.DONE)
    bench.runner.stop()
    # Once eight, four and four; from then on two.
    assert [len(batch) for batch in bench.model.ran] == [8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]
    assert bench.count("inferctl_max_batch_rows") == 2
    assert bench.count("inferctl_batch_cap_rows") == 2
    assert capfd.readouterr().err.count("out of memory") == 1


@pytest.mark.row(85)
def test_a_single_row_too_large_for_the_memory_fails_alone_and_caps_nothing() -> None:
    bench = Bench(FakeModel(memory_rows=0), 4)
    bench.runner.submit([1, 2])
    bench.start(1)
    assert bench.verdicts.take(2) == dict.fromkeys((1, 2), Verdict.OUT_OF_MEMORY)
    bench.runner.stop()
    assert bench.count("inferctl_max_batch_rows") == 4


def test_a_poisoned_batch_caps_nothing() -> None:
    bench = Bench(FakeModel(poisoned=[3]), 4)
    bench.runner.submit(range(4))
    bench.start(1)
    bench.verdicts.take(4)
    bench.runner.stop()
    assert bench.count("inferctl_max_batch_rows") == 4


def test_a_lone_batch_runs_wide_and_one_in_company_does_not() -> None:
    wide = object()
    bench = Bench(FakeModel(), 1)
    bench.model.wide = Wide(cast(Instance, wide))
    bench.start(2)
    bench.hold(0)
    bench.hold(1)  # beside the first
    bench.model.open.set()
    bench.verdicts.take(2)
    bench.runner.submit([2])
    bench.verdicts.take(1)
    bench.runner.stop()
    assert sorted(zip(bench.model.ran, map(id, bench.model.instances), strict=True)) == [
        ([0], id(wide)), ([1], id(None)), ([2], id(wide)),
    ]  # fmt: skip


def test_a_batch_that_leaves_rows_waiting_does_not_run_wide() -> None:
    bench = Bench(FakeModel(), 2)
    wide = object()
    bench.model.wide = Wide(cast(Instance, wide))
    bench.runner.submit([0, 1, 2])
    bench.start(1)
    bench.verdicts.take(3)
    bench.runner.stop()
    assert bench.model.instances == [None, wide]


def test_a_wide_run_says_nothing_about_what_a_usual_one_costs() -> None:
    """Whose seconds are the fake's: next to none, against the hundredth that was expected."""
    bench = Bench(FakeModel(), 1)
    bench.model.wide = Wide(cast(Instance, object()))
    for slot in range(2 * RECONSIDER_RUNS):
        bench.runner.submit([slot % 64])
        bench.runner.step()
    assert bench.sizing.batcher.run_s == 0.01
    bench.model.wide = None
    for slot in range(2 * RECONSIDER_RUNS):
        bench.runner.submit([slot % 64])
        bench.runner.step()
    assert bench.sizing.batcher.run_s < 0.01


def test_a_wide_session_that_is_not_faster_is_passed_over() -> None:
    bench = Bench(FakeModel(), 1, seconds=1e-9)  # what no run can match
    bench.model.wide = Wide(cast(Instance, object()))
    for slot in range(8):
        bench.runner.submit([slot])
        bench.runner.step()
    passed_over = [session is None for session in bench.model.instances]
    assert passed_over == sorted(passed_over)
    assert (passed_over[0], passed_over[-1]) == (False, True)


def test_of_short_runs_only_some_are_measured() -> None:
    bench = Bench(FakeModel(), 1)
    ticks = count()
    bench.model.clock = lambda: float(next(ticks))
    for run_s, measured in ((1.0, 80), (INLINE_RUN_S / 2, 80 // SHORT_RUNS_PER_MEASURED)):
        ticks = count()
        for _ in range(80):
            bench.sizing.batcher.run_s = run_s
            bench.runner.submit([1])
            bench.runner.step()
        assert next(ticks) == 2 * measured  # before and after


def test_steps_run_the_batches_where_they_are_called() -> None:
    threads = threading.active_count()
    bench = Bench(FakeModel(), 4)
    assert not bench.runner.step()  # it does not wait for rows
    bench.runner.submit(range(6))
    assert bench.runner.step()
    assert bench.model.ran == [[0, 1, 2, 3]]
    assert not bench.runner.step()
    assert bench.verdicts.take(6) == dict.fromkeys(range(6), Verdict.DONE)
    assert threading.active_count() == threads
    bench.runner.evict(0)  # nothing of it runs any more
    bench.runner.stop()


def test_between_steps_the_rows_of_a_dead_worker_are_forgotten() -> None:
    bench = Bench(FakeModel(), 1)
    bench.runner.submit([0, 40])  # worker 1 owns 32 and up
    assert bench.runner.step()
    bench.runner.evict(1)
    assert not bench.runner.step()
    assert bench.model.ran == [[0]]
    assert bench.count("inferctl_dropped_total", "worker_lost") == 1


def test_length_and_priority_are_read_from_the_slots() -> None:
    bench = Bench(FakeModel(), 2, seconds=1e-6)
    bench.model.has_tokens = True
    bench.arena.tokens[:5] = [10, 90, 9, 80, 10]
    bench.arena.bulk[4] = 1
    bench.runner.submit(range(5))
    while bench.runner.step():
        pass
    assert bench.model.ran == [[0, 2], [1, 3], [4]]


def test_tokens_and_their_padding_are_counted_of_texts_alone() -> None:
    for has_tokens, tokens, padding in ((True, 27, 3), (False, 0, 0)):
        bench = Bench(FakeModel(), 3, seconds=1e-6)
        bench.model.has_tokens = has_tokens
        bench.arena.tokens[:3] = [10, 9, 8]
        bench.runner.submit(range(3))
        bench.runner.step()
        assert bench.count("inferctl_tokens_total") == tokens
        assert bench.count("inferctl_padding_tokens_total") == padding


def test_rows_that_cost_more_together_than_alone_are_run_apart() -> None:
    bench = Bench(FakeModel(), 3)  # ten milliseconds a token
    bench.model.has_tokens = True
    bench.arena.tokens[:3] = [10, 9, 10]
    bench.runner.submit(range(3))
    while bench.runner.step():
        pass
    assert bench.model.ran == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("seconds", "batching", "runtime", "expected"),
    [
        (1e-6, {}, {}, True),
        (1e-6, {}, {"instances": 1}, True),
        (1e-6, {}, {"instances": 2}, False),  # asked for
        (1e-6, {"max_wait_ms": 1}, {}, False),  # whoever waits must not read
        (INLINE_RUN_S / 8, {}, {}, False),  # eight rows may become a batch
    ],
)
def test_batches_of_tiny_models_are_run_inline(
    seconds: float, batching: dict[str, Any], runtime: dict[str, Any], expected: bool
) -> None:
    model = cast(Model, FakeModel())
    warm = warmed(4, seconds, sizes=(1, 2, 4, 8))
    settings = BatchingSettings.model_validate(batching), RuntimeSettings.model_validate(runtime)
    assert runs_inline(model, warm, *settings) is expected
    model.on_cuda = True
    assert not runs_inline(model, warm, *settings)


@pytest.mark.parametrize("instances", [0, 2])
def test_a_runner_that_leaves_ends_its_runs_and_runs_nothing_more(instances: int) -> None:
    bench = Bench(FakeModel(), 4)
    bench.start(instances)
    freed = weakref.ref(bench.model)
    if instances:
        bench.hold(3)
        threading.Timer(0.01, bench.model.open.set).start()
    bench.runner.leave()
    if instances:
        assert bench.verdicts.take(1) == {3: Verdict.DONE}
    bench.runner.submit([4])
    assert bench.runner.step() is (len(bench.runner.queue) > 0)
    assert bench.verdicts.none_left()
    assert bench.occupancy.enter("", 0.0, True), "its rows are no company"
    del bench.model
    assert freed() is None
