"""The batch size in use: it follows what runs cost, keeps to the memory, and is published."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from inferctl.arena.ledger import Block, Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.engine.costs import CostCurve
from inferctl.engine.lane import Row
from inferctl.engine.sizing import RAISE_LOOKS, RECONSIDER_RUNS, Sizing
from inferctl.engine.warmup import Warm
from inferctl.settings import BatchingSettings

from .fakes import warmed

SIZES = (1, 2, 4, 8)


def new_block() -> Block:
    memory = map_memory(create_memory("ledger", ledger_bytes(2)))
    return Ledger(memory, 0).blocks[Ledger.ENGINE]


class Sized:
    """A sizing, and the gauges that it publishes."""

    def __init__(
        self, warm: Warm, batching: BatchingSettings | None = None, instances: int = 1
    ) -> None:
        self.block = new_block()
        self.sizing = Sizing(
            "pixels", 0, self.block, warm, batching or BatchingSettings(), instances
        )
        self.batcher = self.sizing.batcher

    def gauge(self, name: str) -> float:
        return self.block.cell(name, 0).get()

    def run(self, seconds_per_row: dict[int, float], times: int = RECONSIDER_RUNS) -> None:
        """Runs of these sizes in turn, so often each."""
        for _ in range(times):
            for rows, seconds in seconds_per_row.items():
                self.sizing.observe(rows, rows, rows * seconds, rows * seconds)


def test_what_warming_found_is_in_use_at_once() -> None:
    batching = BatchingSettings(max_wait_ms=20, max_padding=0.5)
    batcher = Sized(warmed(4, 0.01), batching).batcher
    assert batcher.max_batch_rows == 4
    assert batcher.run_s == pytest.approx(0.04)
    assert (batcher.max_wait_s, batcher.max_padding) == (0.02, 0.5)


def test_looking_at_the_sizes_again_and_again_keeps_nothing() -> None:
    sized = Sized(warmed(4, 0.01, SIZES))
    sized.run({4: 0.01})
    before = sys.getallocatedblocks()

    sized.run({4: 0.01}, 200 * RECONSIDER_RUNS)

    assert sys.getallocatedblocks() - before < 100


def test_the_size_and_the_seconds_per_row_are_published() -> None:
    sized = Sized(warmed(4, 0.01), instances=2)
    assert sized.gauge("inferctl_max_batch_rows") == 4
    assert sized.gauge("inferctl_row_seconds") == pytest.approx(0.005)  # two runners share them


@pytest.mark.parametrize(("padded", "tokens", "taken"), [(SIZES, 1, 4), ((), 1, 5), (SIZES, 9, 5)])
def test_where_batches_are_padded_rows_wait_rather_than_be_padding(
    padded: tuple[int, ...], tokens: int, taken: int
) -> None:
    """Not texts, of which nobody knows how many go together."""
    warm = replace(warmed(8, 0.01, SIZES), padded=padded, tokens=tokens)
    batcher = Sized(warm).batcher
    batcher.add([Row(slot, 0.0, 1e9) for slot in range(5)])
    assert len(batcher.take(0.0, lambda slot: False).rows) == taken


def test_texts_cost_by_their_length() -> None:
    curve = CostCurve()
    curve.measured(32, 0.032)
    sized = Sized(Warm(2, (), 0, 32, curve))
    assert sized.gauge("inferctl_row_seconds") == pytest.approx(0.032)
    for _ in range(5 * RECONSIDER_RUNS):
        sized.sizing.observe(2, 2 * 64, 0.128, 0.128)
    assert sized.gauge("inferctl_row_seconds") == pytest.approx(0.064, rel=0.05)


def test_busy_cores_lengthen_the_seconds_per_row_but_not_the_cost() -> None:
    sized = Sized(warmed(1, 0.01))
    for _ in range(5 * RECONSIDER_RUNS):
        sized.sizing.observe(1, 1, 0.01, 0.03)
    assert sized.gauge("inferctl_row_seconds") == pytest.approx(0.03, rel=0.01)
    assert sized.batcher.run_s == pytest.approx(0.01)


def test_the_size_follows_what_runs_cost() -> None:
    sized = Sized(warmed(1, 0.01, SIZES))
    sized.run({1: 0.01, 2: 0.008, 4: 0.005, 8: 0.005}, times=100)
    assert sized.batcher.max_batch_rows == 4
    assert sized.gauge("inferctl_max_batch_rows") == 4
    sized.run({1: 0.01, 2: 0.01, 4: 0.01, 8: 0.01}, times=300)
    assert sized.batcher.max_batch_rows in (1, 2, 4)
    sized.run({1: 0.01, 2: 0.012, 4: 0.014, 8: 0.02}, times=300)
    assert sized.batcher.max_batch_rows == 1


def test_a_size_set_by_hand_stays() -> None:
    sized = Sized(warmed(2, 0.01))
    sized.run({1: 0.01, 2: 0.008, 4: 0.005}, times=100)
    assert sized.batcher.max_batch_rows == 2
    assert sized.batcher.trial_rows == 0


def test_the_next_larger_size_is_there_to_be_tried() -> None:
    assert Sized(warmed(1, sizes=SIZES)).batcher.trial_rows == 2
    assert Sized(warmed(3, sizes=SIZES)).batcher.trial_rows == 4
    assert Sized(warmed(8, sizes=SIZES)).batcher.trial_rows == 0


def test_a_cap_is_kept_told_once_and_published(capfd: pytest.CaptureFixture[str]) -> None:
    sized = Sized(warmed(8, 0.01, SIZES))
    sized.sizing.cap(4)
    assert (sized.batcher.max_batch_rows, sized.batcher.trial_rows) == (4, 0)
    assert sized.gauge("inferctl_max_batch_rows") == 4
    sized.sizing.cap(4)
    sized.run({1: 0.01, 2: 0.008, 4: 0.006, 8: 0.001}, times=200)
    assert sized.batcher.max_batch_rows == 4
    assert capfd.readouterr().err == (
        "inferctl: pixels: out of memory; batches have 4 rows at most from now on\n"
    )


def test_a_cap_holds_for_a_size_set_by_hand_and_for_one_that_is_tried() -> None:
    by_hand = Sized(warmed(8))
    by_hand.sizing.cap(3)
    assert by_hand.batcher.max_batch_rows == 3
    tried = Sized(warmed(4, sizes=SIZES))
    tried.sizing.cap(4)
    assert (tried.batcher.max_batch_rows, tried.batcher.trial_rows) == (4, 0)


def test_what_did_not_fit_at_warm_up_is_not_begun_with() -> None:
    sized = Sized(warmed(8, fits=4))
    assert sized.batcher.max_batch_rows == 4
    assert sized.gauge("inferctl_batch_cap_rows") == 4
    sized.sizing.cap(2)
    assert sized.gauge("inferctl_batch_cap_rows") == 2
    sized.run({1: 0.001}, RAISE_LOOKS * RECONSIDER_RUNS)
    assert sized.batcher.max_batch_rows == sized.gauge("inferctl_batch_cap_rows") == 4


@pytest.mark.row(86)
@pytest.mark.parametrize("sizes", [SIZES, ()])
def test_a_cap_is_raised_again_and_later_each_time_it_was_too_early(sizes: tuple[int, ...]) -> None:
    sized = Sized(warmed(8, 0.01, sizes))
    costs = {1: 0.001}, RAISE_LOOKS * RECONSIDER_RUNS
    # Runs whose costs leave the size where it is.
    sized.sizing.cap(2)
    assert sized.gauge("inferctl_batch_cap_rows") == 2
    assert sized.batcher.max_batch_rows == 2
    sized.run(*costs)
    assert sized.gauge("inferctl_batch_cap_rows") == 4
    sized.batcher.max_batch_rows = 4
    sized.sizing.cap(2)
    sized.run(*costs)
    assert sized.gauge("inferctl_batch_cap_rows") == 2
    sized.run(*costs)
    assert sized.gauge("inferctl_batch_cap_rows") == 4
    sized.run(*costs)
    assert sized.gauge("inferctl_batch_cap_rows") == 0
    if not sizes:
        assert sized.batcher.max_batch_rows == 8


def by_hand(seconds: float, max_run_ms: int) -> Sizing:
    """Of runs that take so long per row, and may take so long."""
    return Sizing("pixels", 0, new_block(), warmed(8, seconds), BatchingSettings(), 1, max_run_ms)


def test_a_run_may_take_as_long_as_is_set_or_as_follows_from_its_work() -> None:
    assert Sized(warmed(8, 0.1)).sizing.limit_s(8) == 8.0
    assert by_hand(0.1, 300).limit_s(8) == 0.3


def test_a_run_whose_core_has_other_things_to_do_may_take_longer() -> None:
    sized = Sized(warmed(8, 0.1))
    for _ in range(5 * RECONSIDER_RUNS):
        sized.sizing.observe(1, 1, 0.1, 2.0)
    assert sized.sizing.limit_s(8) == pytest.approx(2 * 20 * 0.8, rel=0.01)
    for _ in range(5 * RECONSIDER_RUNS):
        sized.sizing.observe(1, 1, 0.1, 0.01)
    assert sized.sizing.limit_s(8) == pytest.approx(8.0), "and no less than its CPU seconds"


def test_a_row_alone_has_less_time_but_never_less_than_it_needs() -> None:
    assert Sized(warmed(8, 0.1)).sizing.limit_s(1, patience=0.25) == 0.5
    assert Sized(warmed(8, 3.0)).sizing.limit_s(1, patience=0.25) == 6.0
    assert by_hand(0.1, 300).limit_s(1, patience=0.25) == 0.2
    assert by_hand(0.2, 300).limit_s(1, patience=0.25) == 0.3, "and never more than is allowed"


@pytest.mark.parametrize(
    ("seconds", "padded", "short_rows"),
    [
        (0.001, (), 8),
        (0.004, (), 4),
        (1.0, (), 1),
        (0.001, SIZES, 2),  # where a run cannot be ended
    ],
)
def test_short_batches_have_the_rows_that_take_a_short_time(
    seconds: float, padded: tuple[int, ...], short_rows: int
) -> None:
    assert Sized(replace(warmed(8, seconds), padded=padded)).batcher.short_rows == short_rows
