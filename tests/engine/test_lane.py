"""The rows that wait at one priority, and those that come back."""

from __future__ import annotations

from inferctl.engine.lane import Lane, Row


def rows(*slots: int, tokens: int = 1, arrived_s: float | None = None) -> list[Row]:
    """As old as their slots say."""
    return [
        Row(slot, slot if arrived_s is None else arrived_s, 1e9, tokens, True) for slot in slots
    ]


def drained(lane: Lane) -> list[list[int]]:
    """The slots of each length, the oldest first."""
    by_length = []
    while lane:
        by_length.append([row.slot for row in lane.pop(lane.length_of(lane.oldest()), 100)])
    return by_length


def test_rows_that_come_back_go_first_again() -> None:
    lane = Lane(by_tokens=False)
    lane.add(rows(1, 2, 3, 4))
    lane.put_back(lane.pop(1, 2))
    assert drained(lane) == [[1, 2, 3, 4]]


def test_rows_that_come_back_go_behind_those_that_are_older() -> None:
    """As of two batches that gave way at once, whichever ended first."""
    for order in (0, 1), (1, 0):
        lane = Lane(by_tokens=False)
        lane.add(rows(1, 2, 3, 4, 5))
        taken = [lane.pop(1, 2), lane.pop(1, 2)]
        for batch in order:
            lane.put_back(taken[batch])
        assert drained(lane) == [[1, 2, 3, 4, 5]]


def test_rows_that_arrived_together_keep_their_order() -> None:
    lane = Lane(by_tokens=False)
    lane.add(rows(7, 3, 5, 1, arrived_s=0.0))
    lane.put_back(lane.pop(1, 2))
    assert drained(lane) == [[7, 3, 5, 1]]


def test_rows_of_several_lengths_come_back_to_theirs() -> None:
    lane = Lane(by_tokens=True)
    lane.add([*rows(1, tokens=8), *rows(2, 4, tokens=9), *rows(3, 5, tokens=8)])
    lane.put_back([*lane.pop(8, 2), *lane.pop(9, 1)])
    assert lane.around(8) == [8, 9]
    assert drained(lane) == [[1, 3, 5], [2, 4]]


def test_the_last_rows_come_back_too() -> None:
    lane = Lane(by_tokens=True)
    lane.add(rows(1, 2, tokens=8))
    lane.put_back(lane.pop(8, 2))
    assert drained(lane) == [[1, 2]]
