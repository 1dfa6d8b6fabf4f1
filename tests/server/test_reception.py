"""The place of a body in memory, while it comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inferctl.server.reception import Reception

WASTE = memoryview(bytearray(16))


def wanted(_: int) -> bool:
    """There is room for it."""
    return True


def receive(reception: Reception, data: bytes, most: int) -> Iterator[bool]:
    """Write what comes, piece by piece, to where it is wanted."""
    while data:
        room = reception.room(WASTE)[:most]
        room[: len(data)] = data[: len(room)]
        came = min(len(room), len(data))
        data = data[came:]
        yield reception.advance(came)


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("first", [b"", b"ab"])
def test_a_body_is_put_together_in_its_place(first: bytes, most: int) -> None:
    rest = bytes(range(40))
    reception = Reception(first, len(first) + len(rest), wanted)
    *before, last = receive(reception, rest, most)
    assert (any(before), last) == (False, True)
    assert reception.body == first + rest


@pytest.mark.parametrize("forgotten", [True, False])
def test_no_more_is_read_than_belongs_to_it(forgotten: bool) -> None:
    reception = Reception(b"ab", 10, wanted)
    if forgotten:
        reception.forget()
    assert len(reception.room(WASTE)) == 8
    reception.advance(5)
    assert len(reception.room(WASTE)) == 3


def test_nothing_is_reserved_before_bytes_are_to_come() -> None:
    reception = Reception(b"ab", 1 << 40, wanted)
    assert reception.body == b""


def test_what_came_is_told_as_it_comes() -> None:
    told: list[int] = []
    reception = Reception(b"ab", 100, lambda size: not told.append(size))
    assert told == []
    assert list(receive(reception, bytes(98), 40)) == [False, False, True]
    assert told == [42, 82, 100]


def test_a_body_for_which_there_is_no_room_any_more_is_forgotten() -> None:
    reception = Reception(b"ab", 42, lambda size: size < 40)
    *before, last = receive(reception, bytes(40), 10)
    assert (any(before), last) == (False, True)
    assert reception.body == b""


@pytest.mark.parametrize("received", [0, 10])
def test_a_body_that_nobody_wants_goes_nowhere(received: int) -> None:
    reception = Reception(b"ab", 42, wanted)
    if received:
        reception.room(WASTE)
        reception.advance(received)
    reception.forget()
    *before, last = receive(reception, bytes(40 - received), 100)
    assert (any(before), last) == (False, True)
    assert reception.body == b""
