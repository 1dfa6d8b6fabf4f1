"""Which rows share a batch: those alike in length, and the interactive before the bulk."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from inferctl.engine.batcher import TRIAL_EVERY, Batcher
from inferctl.engine.lane import Row

NEVER_S = 1e9


def nobody(slot: int) -> bool:
    return False


def texts(
    *lengths: int, bulk: bool = False, first_slot: int = 0, arrived_s: float = 0
) -> list[Row]:
    """Rows of these lengths, a second apart."""
    return [
        Row(first_slot + number, arrived_s + number, NEVER_S, tokens, bulk)
        for number, tokens in enumerate(lengths)
    ]


def batches(batcher: Batcher, rows: Sequence[Row], now_s: float = 0.0) -> list[list[int]]:
    """The slots of every batch until none waits."""
    batcher.add(rows)
    taken = []
    while len(batcher):
        taken.append([row.slot for row in batcher.take(now_s, nobody).rows])
    return taken


def lengths(batcher: Batcher, rows: Sequence[Row]) -> list[list[int]]:
    by_slot = {row.slot: row.tokens for row in rows}
    return [[by_slot[slot] for slot in batch] for batch in batches(batcher, rows)]


def test_the_oldest_row_leads_and_those_alike_go_with_it() -> None:
    assert lengths(Batcher(3), texts(10, 100, 10, 100, 11, 90)) == [[10, 10, 11], [100, 100, 90]]


def test_rows_of_one_length_leave_in_the_order_of_their_arrival() -> None:
    assert batches(Batcher(2), texts(5, 90, 5, 90, 5, 90)) == [[0, 2], [1, 3], [4], [5]]


def test_models_of_one_length_are_served_first_come_first_served() -> None:
    assert batches(Batcher(3), texts(1, 1, 1, 1, 1)) == [[0, 1, 2], [3, 4]]
    assert batches(Batcher(3), texts(0, 0, 0, 0)) == [[0, 1, 2], [3]]


@pytest.mark.parametrize(
    ("max_padding", "expected"),
    [
        (0.0, [[8], [6], [4], [2]]),
        (0.125, [[8, 6], [4], [2]]),  # 2 of 16 are padding; with the 4 it were 6 of 24
        (0.25, [[8, 6, 4], [2]]),  # 6 of 24; with the 2 it were 12 of 32
        (0.374, [[8, 6, 4], [2]]),
        (0.375, [[8, 6, 4, 2]]),
    ],
)
def test_padding_is_bounded(max_padding: float, expected: list[list[int]]) -> None:
    assert lengths(Batcher(8, max_padding=max_padding), texts(8, 6, 4, 2)) == expected


def test_the_row_that_costs_the_least_padding_is_taken_next() -> None:
    """A shorter one pads itself, a longer one every row that is there already."""
    assert lengths(Batcher(2), texts(20, 18, 21)) == [[20, 21], [18]]
    assert lengths(Batcher(3), texts(20, 20, 19, 21)) == [[20, 20, 19], [21]]
    assert lengths(Batcher(3), texts(20, 20, 17, 21)) == [[20, 20, 21], [17]]


def test_a_lonely_length_goes_alone_when_it_is_the_oldest() -> None:
    assert lengths(Batcher(4), texts(512, 8, 8, 8)) == [[512], [8, 8, 8]]


def test_interactive_rows_go_before_older_bulk_rows() -> None:
    rows = [*texts(1, 1, bulk=True), *texts(1, 1, first_slot=10, arrived_s=0.5)]
    assert batches(Batcher(2), rows) == [[10, 11], [0, 1]]


def test_bulk_rows_never_share_a_batch_with_interactive_ones() -> None:
    """Which would wait for them."""
    rows = [*texts(4, 4, 9, bulk=True), *texts(4, first_slot=10)]
    assert batches(Batcher(4), rows) == [[10], [0, 1], [2]]


def test_bulk_rows_wait_while_an_interactive_row_does() -> None:
    """Of another length though it be: a fuller batch would keep it waiting for longer."""
    rows = [*texts(4, bulk=True), *texts(4, 9, first_slot=10)]
    assert batches(Batcher(4), rows) == [[10], [11], [0]]


def test_a_larger_size_is_tried_now_and_then_when_enough_rows_wait() -> None:
    batcher = Batcher(2)
    batcher.trial_rows = 4
    sizes = [len(batch) for batch in batches(batcher, texts(*[1] * (4 * TRIAL_EVERY)))]
    assert sizes.count(4) == 1
    assert sizes.index(4) == TRIAL_EVERY - 1
    assert set(sizes) == {2, 4}


def test_a_larger_size_is_not_tried_without_the_rows_for_it() -> None:
    batcher = Batcher(2)
    batcher.trial_rows = 4
    for _ in range(2 * TRIAL_EVERY):
        assert batches(batcher, texts(1, 1, 1)) == [[0, 1], [2]]


def test_a_lost_row_is_taken_out_of_every_length_and_priority() -> None:
    batcher = Batcher(8)
    batcher.add([*texts(4, 9, 4), *texts(4, 4, bulk=True, first_slot=10)])
    assert [row.slot for row in batcher.remove(lambda slot: slot in (1, 2, 10))] == [10, 1, 2]
    assert len(batcher) == 2
    assert batches(batcher, []) == [[0], [11]]


def test_taking_a_batch_is_quick_however_many_wait() -> None:
    """500 rows of 200 lengths; a bound that only a rule of another order would miss."""
    batcher = Batcher(32)
    batcher.add(texts(*[1 + number * 7 % 200 for number in range(500)]))
    begun_s = time.thread_time()
    while len(batcher):
        batcher.take(0.0, nobody)
    assert time.thread_time() - begun_s < 500 / 32 * 0.002
