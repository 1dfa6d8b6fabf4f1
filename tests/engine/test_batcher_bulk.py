"""What bulk rows get beside interactive ones: what is left, and a share however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from inferctl.engine.batcher import BULK_AGEING_S, BULK_SHARE, Batch, Batcher
from inferctl.engine.lane import Row

NEVER_S = 1e9


def rows(*slots: int, arrived_s: float = 0.0, bulk: bool = False) -> list[Row]:
    return [Row(slot, arrived_s, NEVER_S, 1, bulk) for slot in slots]


def take(batcher: Batcher, now_s: float, is_short: bool = False) -> Batch:
    return batcher.take(now_s, lambda slot: False, is_short=is_short)


def slots(batch: Batch) -> list[int]:
    return [row.slot for row in batch.rows]


def deep(max_batch_rows: int, run_s: float = 0.0) -> Batcher:
    """64 bulk rows that came at once, and an interactive one a second later."""
    batcher = Batcher(max_batch_rows, run_s=run_s)
    batcher.add([*rows(*range(100, 164), bulk=True)])
    batcher.add(rows(1, arrived_s=1.0))
    return batcher


def test_of_a_deep_bulk_queue_one_batch_goes_before_an_interactive_row() -> None:
    """However many have waited for long: it does not wait behind them all."""
    batcher = deep(4)
    now_s = BULK_AGEING_S
    assert (slots(take(batcher, now_s)), slots(take(batcher, now_s))) == ([100, 101, 102, 103], [1])
    batcher.add(rows(2, arrived_s=now_s))
    assert slots(take(batcher, now_s)) == [2]
    batcher.add(rows(3, arrived_s=now_s + 0.9 * BULK_AGEING_S))
    assert slots(take(batcher, now_s + 0.9 * BULK_AGEING_S)) == [3]


def test_bulk_rows_are_due_again_after_the_same_time() -> None:
    batcher = deep(4)
    turns = []
    for tenth in range(1, 41):
        now_s = tenth / 10
        batcher.add(rows(tenth, arrived_s=now_s))
        if take(batcher, now_s).bulk:
            turns.append(now_s)
    assert turns == [1.0, 2.0, 3.0, 4.0]


def test_bulk_rows_that_were_just_served_are_not_due() -> None:
    batcher = deep(4)
    batcher.bulk_served_s = BULK_AGEING_S
    assert not take(batcher, 1.5 * BULK_AGEING_S).bulk
    batcher.add(rows(2))
    assert take(batcher, 2 * BULK_AGEING_S).bulk


def test_long_batches_are_due_less_often() -> None:
    """They would have it all."""
    batcher = deep(4, run_s=1.0)
    batcher.add(rows(2))
    assert batcher.lead(0.9 / BULK_SHARE) == "interactive"
    assert batcher.lead(1 / BULK_SHARE) == "due"


def test_bulk_rows_alone_are_taken_at_once() -> None:
    batcher = Batcher(4)
    batcher.add(rows(1, 2, bulk=True))
    assert batcher.lead(0.0) == "bulk"
    batch = take(batcher, 0.0)
    assert (batch.bulk, slots(batch), len(batcher)) == (True, [1, 2], 0)


def test_bulk_batches_are_short_when_they_shall_be() -> None:
    batcher = deep(8)
    batcher.short_rows = 2
    assert slots(take(batcher, 0.0, is_short=True)) == [1]
    assert slots(take(batcher, 0.0, is_short=True)) == [100, 101]
    assert len(take(batcher, 0.0).rows) == 8


def test_a_bulk_batch_that_is_due_is_not_short() -> None:
    """It has its whole share: it is not ended either."""
    batcher = deep(8)
    batcher.short_rows = 2
    assert slots(take(batcher, BULK_AGEING_S, is_short=True)) == [*range(100, 108)]


def test_rows_that_gave_way_are_the_next_bulk_rows() -> None:
    batcher = deep(4)
    batcher.remove(lambda slot: slot == 1)
    batch = take(batcher, 0.5)
    batcher.add(rows(2, arrived_s=0.6))
    batcher.put_back(batch.rows)
    assert (len(batcher), batcher.interactive_rows, batcher.bulk_rows) == (65, 1, 64)
    assert slots(take(batcher, 0.6)) == [2]
    assert slots(take(batcher, 0.6)) == [100, 101, 102, 103]


def test_that_they_gave_way_does_not_put_their_turn_off() -> None:
    batcher = deep(4)
    batcher.remove(lambda slot: slot == 1)
    for tenth in range(1, 10):
        batcher.put_back(take(batcher, tenth / 10).rows)
    assert batcher.bulk_due_s() == BULK_AGEING_S


def test_a_held_interactive_batch_does_not_leave_for_bulk_rows() -> None:
    batcher = Batcher(4, max_wait_s=0.5)
    batcher.add([*rows(1), *rows(2, 3, 4, 5, bulk=True)])
    assert batcher.leaves_at(0.0) == 0.5
    batcher.remove(lambda slot: slot == 1)
    assert batcher.leaves_at(0.0) == 0.0


def test_a_held_interactive_batch_leaves_bulk_rows_their_turn() -> None:
    batcher = Batcher(4, max_wait_s=5.0)
    batcher.add([*rows(1), *rows(2, bulk=True)])
    assert batcher.leaves_at(0.0) == BULK_AGEING_S
    assert slots(take(batcher, BULK_AGEING_S)) == [2]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda batcher: batcher.add(rows(2, 3)), (3, 64)),
        (lambda batcher: batcher.add(rows(2, 3, bulk=True)), (1, 66)),
        (lambda batcher: take(batcher, 0.0), (0, 64)),
        (lambda batcher: take(batcher, BULK_AGEING_S), (1, 60)),
        (lambda batcher: batcher.remove(lambda slot: slot in (1, 100)), (0, 63)),
        (lambda batcher: batcher.put_back(rows(*range(200, 203), bulk=True)), (1, 67)),
    ],
)
def test_who_looks_in_the_middle_of_a_change_sees_what_was_or_what_is(
    change: Callable[[Batcher], object], after: tuple[int, int]
) -> None:
    """Other threads look at any moment, without a lock: here at each of the interpreter's steps."""
    batcher = deep(4)
    seen: list[tuple[int, int]] = []

    def look(frame: FrameType, *_: Any) -> Any:
        frame.f_trace_opcodes = True
        seen.append((batcher.interactive_rows, batcher.bulk_rows))
        return look

    before, tracing = (1, 64), sys.gettrace()
    sys.settrace(look)
    try:
        change(batcher)
    finally:
        sys.settrace(tracing)
    assert (seen[0], (batcher.interactive_rows, batcher.bulk_rows)) == (before, after)
    for was, now, each in zip(before, after, zip(*seen, strict=True), strict=True):
        assert set(each) <= {was, now}
