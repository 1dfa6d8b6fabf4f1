"""What is told of GPUs: whole, and not for longer than it is true."""

from __future__ import annotations

import pytest

from inferctl.arena.board import BOARD_BYTES, STALE_S, Board, Gpu
from inferctl.arena.sheet import HEAD

ONE = Gpu(0, "GPU-1", "NVIDIA H100", memory_used_bytes=3, utilization=0.5, is_own=True)
NOW_S = 100.0


@pytest.fixture
def memory() -> memoryview[int]:
    return memoryview(bytearray(BOARD_BYTES))


def test_what_is_written_is_read(memory: memoryview[int]) -> None:
    board = Board(memory)
    assert board.read(NOW_S) == []
    board.write([ONE, ONE._replace(number=1)], NOW_S)
    assert board.read(NOW_S + 1) == [ONE, ONE._replace(number=1)]
    board.write([], NOW_S)
    assert board.read(NOW_S) == []


def test_what_was_read_long_ago_is_not_told(memory: memoryview[int]) -> None:
    board = Board(memory)
    board.write([ONE], NOW_S)
    assert board.read(NOW_S + STALE_S - 0.1) == [ONE]
    assert board.read(NOW_S + STALE_S) == []


@pytest.mark.parametrize("byte", [0, HEAD.size, HEAD.size + 20])
def test_what_is_half_written_is_not_told(memory: memoryview[int], byte: int) -> None:
    board = Board(memory)
    board.write([ONE], NOW_S)
    memory[byte] ^= 1
    assert board.read(NOW_S) == []


def test_of_more_gpus_than_there_is_room_for_the_first_are_told(memory: memoryview[int]) -> None:
    board = Board(memory)
    board.write([ONE._replace(number=number) for number in range(1000)], NOW_S)
    found = board.read(NOW_S)
    assert len(found) > 40
    assert [gpu.number for gpu in found] == list(range(len(found)))
