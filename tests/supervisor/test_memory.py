"""How near the service is to its limit of memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from inferctl.arena.ledger import MEMORY_IS_SHORT, PID, Ledger
from inferctl.proc import PAGE_BYTES, PROC
from inferctl.supervisor import memory
from inferctl.supervisor.memory import MemoryWatch
from tests.server.loop import until
from tests.server.wiring import make_ledger

MIB = 1024 * 1024
PROCESSES = {11: (60, 50), 12: (60, 20)}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stat_of(pages: int) -> str:
    """See proc(5): resident pages are the 24th field."""
    return f"11 (inferctl) S {'0 ' * 20}{pages} {'0 ' * 28}\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two processes with 60 MiB each, of which 50 MiB and 20 MiB are their share."""
    for pid, (resident_mib, own_mib) in PROCESSES.items():
        write(tmp_path / str(pid) / "stat", stat_of(resident_mib * MIB // PAGE_BYTES))
        write(tmp_path / str(pid) / "smaps_rollup", f"Rss: 1 kB\nPss:    {own_mib * 1024} kB\n")
    return tmp_path


class Watched:
    """A service of these processes, and what its ledger says of their memory."""

    def __init__(self, limit_bytes: int, *pids: int, proc: Path = PROC) -> None:
        self.ledger = make_ledger(workers=3)
        for block, pid in zip(self.ledger.blocks, pids, strict=False):
            block.state(PID).set(pid)
        self.watch = MemoryWatch(limit_bytes, self.ledger, proc)

    def is_short(self) -> bool:
        return self.ledger.blocks[Ledger.SUPERVISOR].state(MEMORY_IS_SHORT).get() == 1

    def is_short_now(self) -> bool:
        self.watch.look()
        return self.is_short()


@pytest.mark.row(15)
@pytest.mark.parametrize(("limit_mib", "is_short"), [(200, False), (78, False), (77, True)])
def test_memory_is_short_from_nine_tenths_of_the_limit_on(
    proc: Path, limit_mib: int, is_short: bool
) -> None:
    assert Watched(limit_mib * MIB, *PROCESSES, proc=proc).is_short_now() == is_short


def test_a_process_that_is_gone_takes_no_memory(proc: Path) -> None:
    assert not Watched(77 * MIB, 0, 11, 13, proc=proc).is_short_now()


def test_this_process_has_some_memory() -> None:
    assert Watched(MIB, os.getpid()).is_short_now()


@pytest.mark.row(15)
async def test_it_looks_again_and_again(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK_EVERY_S", 0.001)
    watched = Watched(77 * MIB, *PROCESSES, proc=proc)
    watching = asyncio.create_task(watched.watch.keep())
    await until(watched.is_short)
    write(proc / "11" / "stat", stat_of(pages=0))
    await until(lambda: not watched.is_short())
    watching.cancel()


async def test_without_a_limit_nobody_looks(tmp_path: Path) -> None:
    await Watched(0, proc=tmp_path).watch.keep()
