"""Whether the service is about to run out of memory: looked at now and then, never in a request.

What the queue may hold is bounded, but not what decoders, runs and answers take besides it. Near
the limit large bodies are refused and small requests go on: the system would end a process.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from inferctl.arena.ledger import MEMORY_IS_SHORT, PID, Ledger
from inferctl.container import container_limit_bytes
from inferctl.proc import PROC, folder_of, read_stat, text_of

LOOK_EVERY_S = 0.25
# The share of the limit from which on memory is short.
SHORT = 0.9


class MemoryWatch:
    """Compares the memory of all processes with a limit; the ledger says whether it is short.

    Without a limit there is nothing to look at.
    """

    def __init__(self, limit_bytes: int, ledger: Ledger, proc: Path = PROC) -> None:
        """A limit of 0 is that of the system for this group of processes, if there is one."""
        self._limit_bytes = limit_bytes or container_limit_bytes(proc)
        self._short_bytes = SHORT * self._limit_bytes
        self._pids = [block.state(PID) for block in ledger.blocks]
        self._is_short = ledger.blocks[Ledger.SUPERVISOR].state(MEMORY_IS_SHORT)
        self._proc = proc

    async def keep(self) -> None:
        """Watch, until it is cancelled."""
        while self._limit_bytes:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Look once."""
        pids = [int(pid.get()) for pid in self._pids]
        # Pages that several processes share count for each of them here. That is quick, and too
        # much: exact is only worth its milliseconds if this is more than there may be.
        most_bytes = sum(map(self._resident_bytes, pids))
        is_short = most_bytes >= self._short_bytes and (
            sum(map(self._own_bytes, pids)) >= self._short_bytes
        )
        self._is_short.set(is_short)

    def _resident_bytes(self, pid: int) -> int:
        stat = read_stat(folder_of(pid, self._proc))
        return stat.resident_bytes if stat else 0

    def _own_bytes(self, pid: int) -> int:
        """Of pages that it shares with others it has its share."""
        rollup = text_of(folder_of(pid, self._proc) / "smaps_rollup").splitlines()
        shares = (line for line in rollup if line.startswith("Pss:"))
        return sum(int(share.split()[1]) * 1024 for share in shares)
