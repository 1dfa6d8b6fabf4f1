"""The batcher's rule, one example each; the clock is the test's own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from inferctl.engine.batcher import WAKE_UP_S, Batcher
from inferctl.engine.lane import Row

NEVER_S = 1e9


def row(slot: int, arrived_s: float = 0.0, deadline_s: float = NEVER_S) -> Row:
    return Row(slot, arrived_s, deadline_s)


def nobody(slot: int) -> bool:
    return False


def slots(rows: Iterable[Row]) -> list[int]:
    return [row.slot for row in rows]


def filled(batcher: Batcher, *rows: Row) -> Batcher:
    batcher.add(rows)
    return batcher


@pytest.mark.row(13)
def test_an_idle_runner_takes_what_waits_at_once() -> None:
    batcher = filled(Batcher(4), row(1, arrived_s=10))
    assert batcher.leaves_at(10) == 10
    assert slots(batcher.take(10, nobody).rows) == [1]


def test_nothing_leaves_when_nothing_waits() -> None:
    batcher = Batcher(4, max_wait_s=1)
    assert batcher.leaves_at(10) is None
    assert batcher.take(10, nobody).rows == []


def test_the_next_batch_is_what_waits_up_to_the_limit() -> None:
    batcher = filled(Batcher(4), *(row(slot) for slot in range(6)))
    assert slots(batcher.take(0, nobody).rows) == [0, 1, 2, 3]
    assert len(batcher) == 2
    assert slots(batcher.take(0, nobody).rows) == [4, 5]
    assert len(batcher) == 0


def test_rows_that_do_not_fit_a_size_wait_for_the_next_batch() -> None:
    batcher = Batcher(8, fitting=lambda rows: 4 if 4 <= rows < 8 else rows)
    filled(batcher, *(row(slot) for slot in range(15)))
    taken = [slots(batcher.take(0, nobody).rows) for _ in range(3)]
    assert taken == [list(range(8)), list(range(8, 12)), [12, 13, 14]]


def test_rows_leave_in_the_order_of_their_arrival_not_of_their_slots() -> None:
    batcher = filled(Batcher(8), row(5), row(1))
    batcher.add([row(3)])
    assert slots(batcher.take(0, nobody).rows) == [5, 1, 3]


def test_a_partial_batch_is_held_until_its_oldest_row_has_waited() -> None:
    batcher = filled(Batcher(4, max_wait_s=2), row(1, arrived_s=10), row(2, arrived_s=11))
    assert batcher.leaves_at(11) == 12


def test_a_full_batch_is_not_held() -> None:
    batcher = filled(Batcher(2, max_wait_s=2), row(1, arrived_s=10), row(2, arrived_s=11))
    assert batcher.leaves_at(11) == 11


def test_a_partial_batch_is_not_held_past_the_start_of_its_most_urgent_row() -> None:
    batcher = filled(
        Batcher(4, max_wait_s=10, run_s=0.5),
        row(1, arrived_s=0, deadline_s=9),
        row(2, arrived_s=1, deadline_s=3),
    )
    assert batcher.leaves_at(1) == 2.5 - WAKE_UP_S


def test_a_row_that_must_start_already_leaves_at_once() -> None:
    batcher = filled(Batcher(4, max_wait_s=10, run_s=5), row(1, arrived_s=1, deadline_s=3))
    leaves_s = batcher.leaves_at(1)
    assert leaves_s is not None
    assert leaves_s <= 1


def test_the_oldest_of_what_is_left_decides_after_a_batch_left() -> None:
    batcher = filled(Batcher(1, max_wait_s=2), row(1, arrived_s=10), row(2, arrived_s=11))
    batcher.take(11, nobody)
    batcher.max_batch_rows = 4
    assert batcher.leaves_at(11) == 13


@pytest.mark.parametrize(("deadline_s", "runs"), [(4.999, False), (5.0, False), (5.001, True)])
def test_a_row_whose_deadline_passed_is_dropped(deadline_s: float, runs: bool) -> None:
    late = row(1, deadline_s=deadline_s)
    batch = filled(Batcher(4), late).take(5, nobody)
    assert batch.rows == ([late] if runs else [])
    assert batch.dropped == ([] if runs else [(late, "expired")])


def test_a_row_whose_client_left_is_dropped() -> None:
    gone, here = row(1), row(2)
    batch = filled(Batcher(4), gone, here).take(0, lambda slot: slot == 1)
    assert batch.rows == [here]
    assert batch.dropped == [(gone, "cancelled")]


def test_a_row_both_cancelled_and_late_is_dropped_once() -> None:
    gone = row(1, deadline_s=1)
    batch = filled(Batcher(4), gone).take(5, lambda _: True)
    assert batch.dropped == [(gone, "cancelled")]


def test_dropped_rows_take_no_place_in_a_batch() -> None:
    batcher = filled(Batcher(2), *(row(slot) for slot in range(6)))
    batch = batcher.take(0, lambda slot: slot in (0, 2))
    assert slots(batch.rows) == [1, 3]
    assert len(batcher) == 2


def test_rows_of_a_dead_worker_are_taken_out_and_the_others_keep_their_order() -> None:
    batcher = filled(Batcher(4), *(row(slot) for slot in (3, 10, 1, 11)))
    assert slots(batcher.remove(lambda slot: slot >= 10)) == [10, 11]
    assert slots(batcher.take(0, nobody).rows) == [3, 1]


def test_rows_that_would_save_nothing_together_are_run_apart() -> None:
    asked: list[tuple[int, int, int]] = []

    def saved_s(rows: int, longest: int, tokens: int) -> float:
        asked.append((rows, longest, tokens))
        return 4 - abs(longest - tokens)

    batcher = Batcher(8, max_padding=0.9, saved_s=saved_s)
    batcher.add([Row(slot, 0, NEVER_S, tokens) for slot, tokens in enumerate((20, 17, 30, 20))])
    assert slots(batcher.take(0, nobody).rows) == [0, 3, 1]
    assert asked == [(2, 20, 17), (3, 20, 30)]
    assert slots(batcher.take(0, nobody).rows) == [2]


def test_a_row_whose_answer_would_come_too_late_is_dropped() -> None:
    batcher = filled(Batcher(4, run_s=2), row(1, deadline_s=10), row(2, deadline_s=11))
    batch = batcher.take(8, nobody)
    assert slots(batch.rows) == [2]
    assert [(row.slot, reason) for row, reason in batch.dropped] == [(1, "expired")]


def test_a_row_that_had_less_time_than_a_run_from_the_start_is_tried() -> None:
    batcher = filled(Batcher(4, run_s=2), row(1, arrived_s=8, deadline_s=9.5))
    assert slots(batcher.take(8, nobody).rows) == [1]


def test_who_allows_all_padding_gets_rows_as_they_come() -> None:
    batcher = Batcher(2, max_padding=1)
    batcher.add([Row(slot, 0, NEVER_S, tokens) for slot, tokens in enumerate((20, 90, 20, 1))])
    assert [slots(batcher.take(0, nobody).rows) for _ in range(2)] == [[0, 1], [2, 3]]
