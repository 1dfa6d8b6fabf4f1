"""Runs of bulk rows end for the sake of interactive ones; their rows are answered all the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from inferctl.arena.wire import Verdict
from inferctl.bundles.manifest import Manifest
from inferctl.engine import batcher as batcher_module
from inferctl.engine.lane import Row
from inferctl.engine.model import Model
from inferctl.engine.session import Ended
from inferctl.settings import RuntimeSettings
from tests.faults.kit import ENDLESS, FAULTS, fields_of
from tests.graphs import write_bundle

from .fakes import TIMEOUT_S, Bench, FakeModel

PREEMPTED = "inferctl_preempted_rows_total"
# Rounds of the kit's loop: a third of a second or more.
LONG = 300_000


def bench_of(model: FakeModel, bulk: Sequence[int], instances: int = 1) -> Bench:
    """A runner whose rows in these slots are bulk, and whose batches have four at most."""
    bench = Bench(model, 4)
    bench.arena.bulk[list(bulk)] = 1
    bench.start(instances)
    return bench


def loop_bench(tmp_path: Path, bulk: Sequence[int]) -> Bench:
    """One of a real session: rows take as many rounds as the largest of their batch says."""
    manifest: Manifest = write_bundle(tmp_path / "loop", FAULTS["loop"].graph(), fields_of("loop"))
    model = Model(tmp_path / "loop", manifest, RuntimeSettings(device="cpu"), threads=1)
    return bench_of(cast(FakeModel, model), bulk)


def until_it_runs(bench: Bench, slot: int) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not bench.arena.started_s[slot]:
        assert time.monotonic() < deadline_s


def test_a_real_run_ends_for_an_interactive_row_and_its_rows_are_run_again(tmp_path: Path) -> None:
    bench = loop_bench(tmp_path, bulk=[0, 1])
    rounds = [LONG, 7, 3]
    bench.arena.inputs["x"][:3, 0] = rounds
    bench.runner.submit([0, 1])
    until_it_runs(bench, 0)
    bench.runner.submit([2])
    assert bench.verdicts.take(1) == {2: Verdict.DONE}
    assert bench.verdicts.take(2) == {0: Verdict.DONE, 1: Verdict.DONE}
    bench.runner.stop()
    assert bench.arena.outputs["y"][:3, 0].tolist() == rounds
    assert bench.count(PREEMPTED) == 2
    assert bench.count("inferctl_rows_total") == 3
    assert bench.count("inferctl_poisoned_rows_total") == 0


def test_rows_that_gave_way_are_no_suspects(tmp_path: Path) -> None:
    """If the engine dies next, of another row: its successor does not try them alone."""
    bench = loop_bench(tmp_path, bulk=[0, 1])
    bench.arena.inputs["x"][:2] = ENDLESS
    execution = bench.runner._execution
    stint = execution.new_stint()
    stint.give_way()
    error = execution.run([Row(slot, 0.0, np.inf, 1, True) for slot in (0, 1)], stint)
    assert isinstance(error, Ended)
    assert (bench.arena.finished_s[:2] >= bench.arena.started_s[:2]).all()
    assert bench.verdicts.none_left()
    bench.runner.stop()


def test_rows_that_gave_way_were_not_begun() -> None:
    """Whoever asks when one of them expires, waiting for its next run."""
    bench = Bench(FakeModel(), 4)
    bench.arena.bulk[[0, 1]] = 1
    bench.runner.submit([0, 1])
    stint = bench.runner._new_stint()
    batch = bench.runner.queue.get(stint=stint)
    assert batch is not None
    bench.arena.started_s[:3] = time.monotonic()
    bench.runner.submit([2])
    bench.runner._finish(batch, stint)
    assert bench.arena.started_s[:2].tolist() == [0, 0]
    assert bench.arena.started_s[2] > 0
    assert len(bench.runner.queue) == 3
    bench.runner.stop()


@pytest.mark.parametrize("instances", [1, 2])
def test_bulk_rows_go_on_after_the_interactive_ones(instances: int) -> None:
    bench = bench_of(FakeModel(), [0, 4], instances)
    bench.hold(0)
    bench.runner.submit([4, 1, 2])
    bench.model.open.set()
    assert bench.verdicts.take(4) == dict.fromkeys((0, 1, 2, 4), Verdict.DONE)
    bench.runner.stop()
    assert bench.model.ran.index([1, 2]) <= 1
    assert sorted(slot for batch in bench.model.ran for slot in batch) == [0, 0, 1, 2, 4]
    assert bench.count(PREEMPTED) == 1
    assert bench.count("inferctl_bisects_total") == 0
    assert bench.count("inferctl_queue_rows") == 0


def test_a_bulk_batch_that_is_due_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "BULK_AGEING_S", 0.0)
    monkeypatch.setattr(batcher_module, "BULK_SHARE", np.inf)
    bench = bench_of(FakeModel(), [0])
    bench.hold(0)
    bench.runner.submit([1])
    bench.model.open.set()
    bench.verdicts.take(2)
    bench.runner.stop()
    assert bench.model.ran == [[0], [1]]
    assert bench.count(PREEMPTED) == 0


def test_bulk_rows_get_on_though_interactive_ones_never_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batcher_module, "BULK_AGEING_S", 0.05)
    bench = bench_of(FakeModel(), [0])
    bench.hold(0)
    bench.runner.submit([1])
    bench.model.open.set()
    interactive, give_up_s = 1, time.monotonic() + TIMEOUT_S
    while True:
        assert time.monotonic() < give_up_s, "the bulk row is not run"
        ((slot, verdict),) = bench.verdicts.take(1).items()
        assert verdict == Verdict.DONE
        if slot == 0:
            break
        interactive = 1 + interactive % 60
        bench.runner.submit([interactive])
    bench.verdicts.take(1)
    bench.runner.stop()


def test_a_poisoned_row_is_found_though_its_batch_gave_way_before() -> None:
    bench = bench_of(FakeModel(), [0, 2])
    bench.hold(0)
    bench.runner.submit([1, 2])
    bench.model.open.set()
    bench.model.poisoned = frozenset([2])
    verdicts = bench.verdicts.take(3)
    bench.runner.stop()
    assert verdicts == {0: Verdict.DONE, 1: Verdict.DONE, 2: Verdict.FAILED}
    assert bench.count("inferctl_poisoned_rows_total") == 1


def test_a_batch_that_fails_as_it_is_to_give_way_is_tried_in_parts_to_its_end() -> None:
    bench = bench_of(FakeModel(poisoned=[0]), [0, 3])
    bench.model.open.clear()
    bench.runner.submit([0, 3])
    assert bench.model.began.get(timeout=TIMEOUT_S) == [0, 3]
    bench.runner.submit([1])
    bench.model.open.set()
    assert bench.verdicts.take(3) == {0: Verdict.FAILED, 3: Verdict.DONE, 1: Verdict.DONE}
    bench.runner.stop()
    assert bench.model.ran == [[0, 3], [0], [3], [1]]
    assert bench.count(PREEMPTED) == 0


def test_runs_on_a_gpu_are_not_ended() -> None:
    """It would do what it was given all the same."""
    model = FakeModel()
    model.on_cuda = True
    bench = bench_of(model, [0])
    bench.hold(0)
    bench.runner.submit([1])
    model.open.set()
    bench.verdicts.take(2)
    bench.runner.stop()
    assert model.ran == [[0], [1]]
    assert bench.count(PREEMPTED) == 0
