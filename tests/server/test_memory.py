"""How near the service is to its limit of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferctl.server.memory import PAGE_BYTES, MemoryWatch, container_limit_bytes

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


LIMITS = {
    "0::/a/b": {"a/b/memory.max": "max", "a/memory.max": "3000", "memory.max": "5000"},
    "0::/host/path": {"memory.max": "3000"},
    "4:cpu,memory:/a": {"memory/a/memory.limit_in_bytes": "3000"},
    "4:memory:/a\n0::/": {
        "memory/memory.limit_in_bytes": "3000",
        "memory/a/memory.limit_in_bytes": "9223372036854771712",
    },
}


@pytest.mark.parametrize("groups", LIMITS)
def test_the_limit_is_the_least_of_the_groups_around(tmp_path: Path, groups: str) -> None:
    write(tmp_path / "self" / "cgroup", f"{groups}\n3:pids:/else\n")
    for path, limit in LIMITS[groups].items():
        write(tmp_path / "cgroups" / path, f"{limit}\n")
    assert container_limit_bytes(tmp_path, tmp_path / "cgroups") == 3000


def test_without_a_group_there_is_no_limit(tmp_path: Path) -> None:
    assert container_limit_bytes(tmp_path, tmp_path) == 0
    write(tmp_path / "self" / "cgroup", "0::/\n")
    assert container_limit_bytes(tmp_path, tmp_path) == 0
