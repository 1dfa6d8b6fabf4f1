"""The C library's heap: what is free goes back to the system when it is told to."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

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


def test_what_is_untouched_takes_no_memory_before_it_is_written() -> None:
    before, size = resident_bytes(), 64 << 20  # so large that no free block of the heap is reused
    body = heap.untouched(size)
    assert type(body) is bytearray
    assert len(body) == size
    assert resident_bytes() - before < 0.1 * size
    zeros = bytes(size >> 10)  # of which little is left behind
    for start in range(0, size // 2, len(zeros)):
        body[start : start + len(zeros)] = zeros
    assert 0.4 * size < resident_bytes() - before < 0.6 * size


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the system says of this process: size, resident and shared pages."""
    statm = tmp_path / "statm"
    monkeypatch.setattr(heap, "STATM", statm)
    return statm


@pytest.mark.row(190)
def test_what_is_free_is_given_back_once_in_a_peak_and_once_after_it(
    process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[int] = []

    def give_back() -> None:
        given_back.append(heap.own_bytes() // heap.PAGE_BYTES)
        process.write_text(f"0 {900 + in_use_pages} 900")

    monkeypatch.setattr(heap, "give_back", give_back)
    low_water = heap.LowWater()
    in_use_pages = 100
    for own_pages in (150, 110, 95, 105):
        process.write_text(f"0 {900 + own_pages} 900")
        low_water.look()
    assert given_back == [150]
    in_use_pages = 300  # the peak is not over
    process.write_text("0 1250 900")
    low_water.look()
    in_use_pages = 100
    for own_pages in (200, 100, 109):
        process.write_text(f"0 {900 + own_pages} 900")
        low_water.look()
    assert given_back == [150, 350, 200]


def test_where_the_system_does_not_tell_nothing_is_given_back(
    process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(heap, "give_back")
    heap.LowWater().look()
    assert heap.own_bytes() == 0
