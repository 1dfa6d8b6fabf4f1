"""Anonymous memory: two mappings of one descriptor are the same bytes."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from inferctl.arena.memory import adopt_memory, create_memory, map_memory
from inferctl.errors import StartError


@pytest.mark.parametrize("has_memfd", [True, False])
def test_mappings_of_one_descriptor_see_each_others_writes(
    has_memfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    fd = create_memory("test", 5000)
    one, other = map_memory(fd), map_memory(fd)
    os.close(fd)  # the mappings outlive it
    assert len(one) == 5000
    assert one[:] == bytes(5000)
    one[4999] = 7
    other[0] = 9
    assert (other[4999], one[0]) == (7, 9)


def test_two_memories_are_apart() -> None:
    first, second = create_memory("test", 8), create_memory("test", 8)
    map_memory(first)[0] = 1
    assert map_memory(second)[0] == 0
    os.close(first)
    os.close(second)


def test_no_room_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", no_space)
    with pytest.raises(StartError, match=r"no shared memory for test \(64 bytes\): No space"):
        create_memory("test", 64)


@pytest.mark.row(121)
def test_a_process_that_may_not_have_so_much_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    fd = create_memory("test", 5000)
    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(StartError, match=r"cannot map 5000 bytes .*Cannot allocate .*RLIMIT_AS"):
        map_memory(fd)
    os.close(fd)


def test_an_adopted_descriptor_is_closed_and_its_memory_stays() -> None:
    fd = create_memory("test", 8)
    other = map_memory(fd)
    memory = adopt_memory(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    other[0] = 7
    assert memory[0] == 7
