"""The C library's heap: what is free goes back to the system when it is told to."""

from __future__ import annotations

import resource
from pathlib import Path

from inferctl import heap

BLOCKS = 200
BLOCK_BYTES = 100_000


def resident_bytes() -> int:
    """What this process holds of the machine's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_free_pages_between_used_ones_are_given_back() -> None:
    blocks = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)]
    last = blocks[-1]  # what lies below it stays, if nobody asks
    blocks.clear()
    before = resident_bytes()
    heap.give_back()
    given_back = before - resident_bytes()
    assert len(last) == BLOCK_BYTES
    assert given_back > BLOCKS * BLOCK_BYTES * 0.8
