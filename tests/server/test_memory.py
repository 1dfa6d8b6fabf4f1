"""How near the service is to its limit of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferctl.server.memory import PAGE_BYTES, MemoryWatch

MIB = 1024 * 1024
PROCESSES = {11: (60, 50), 12: (60, 20)}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two processes with 60 MiB each, of which 50 MiB and 20 MiB are their share."""
    for pid, (resident_mib, own_mib) in PROCESSES.items():
        pages = resident_mib * MIB // PAGE_BYTES
        write(tmp_path / str(pid) / "statm", f"99999 {pages} 10 1 0 50 0\n")
        write(tmp_path / str(pid) / "smaps_rollup", f"Rss: 1 kB\nPss:    {own_mib * 1024} kB\n")
    return tmp_path


@pytest.mark.row(15)
@pytest.mark.parametrize(("limit_mib", "is_short"), [(200, False), (78, False), (77, True)])
def test_memory_is_short_from_nine_tenths_of_the_limit_on(
    proc: Path, limit_mib: int, is_short: bool
) -> None:
    heard: list[bool] = []
    MemoryWatch(limit_mib * MIB, lambda: PROCESSES, heard.append, proc).look()
    assert heard == [is_short]


def test_a_process_that_is_gone_takes_no_memory(proc: Path) -> None:
    heard: list[bool] = []
    MemoryWatch(77 * MIB, lambda: [0, 11, 13], heard.append, proc).look()
    assert heard == [False]


def test_this_process_has_some_memory() -> None:
    heard: list[bool] = []
    MemoryWatch(MIB, lambda: [os.getpid()], heard.append).look()
    assert heard == [True]


async def test_without_a_limit_nobody_looks() -> None:
    MemoryWatch(0, lambda: [1 // 0], lambda _: None).start()
