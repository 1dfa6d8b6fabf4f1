"""A real terminal: q is heard at once, and the terminal is left as it was."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Iterator

import pytest

from inferctl.top.keyboard import quit_key


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The end of whoever types, and that of the program."""
    ours, theirs = os.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        os.close(end)


@pytest.mark.parametrize("key", [b"q", b"Q", b"xyq"])
async def test_q_quits_without_a_line_s_end(terminal: tuple[int, int], key: bytes) -> None:
    ours, theirs = terminal
    quitting = asyncio.Event()
    found = termios.tcgetattr(theirs)
    with quit_key(theirs, quitting.set):
        assert termios.tcgetattr(theirs) != found
        os.write(ours, key)
        await asyncio.wait_for(quitting.wait(), 10)
    assert termios.tcgetattr(theirs) == found


async def test_the_terminal_is_left_as_it_was_whatever_happens(terminal: tuple[int, int]) -> None:
    _, theirs = terminal
    found = termios.tcgetattr(theirs)
    with pytest.raises(ZeroDivisionError), quit_key(theirs, lambda: None):
        raise ZeroDivisionError
    assert termios.tcgetattr(theirs) == found


async def test_a_terminal_that_is_gone_quits_too() -> None:
    ours, theirs = os.openpty()
    quitting = asyncio.Event()
    with quit_key(theirs, quitting.set):
        os.close(ours)
        await asyncio.wait_for(quitting.wait(), 10)
    os.close(theirs)


async def test_what_is_no_terminal_is_not_read() -> None:
    reading, writing = os.pipe()
    quitting = asyncio.Event()
    with quit_key(reading, quitting.set):
        os.write(writing, b"q")
        await asyncio.sleep(0)
        assert not quitting.is_set()
    assert os.read(reading, 9) == b"q"
    for end in (reading, writing):
        os.close(end)
