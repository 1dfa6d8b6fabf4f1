"""Whether the service is about to run out of memory: looked at now and then, never in a request.

What the queue may hold is bounded, but not what decoders, runs and answers take besides it. Near
the limit large bodies are refused and small requests go on: the system would end a process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LOOK_EVERY_S = 0.25
# The share of the limit from which on memory is short.
SHORT = 0.9


class MemoryWatch:
    """Compares the memory of some processes with a limit; `tell` hears whether it is short.

    A limit of 0 is none, and there is nothing to look at.
    """

    def __init__(
        self, limit_bytes: int, pids: Callable[[], Iterable[int]], tell: Callable[[bool], None],
        proc: Path = PROC,
    ) -> None:  # fmt: skip
        self._limit_bytes = limit_bytes
        self._short_bytes = SHORT * limit_bytes
        self._pids = pids
        self._tell = tell
        self._proc = proc

    def start(self) -> None:
        """Look from now on, on the running loop."""
        if not self._limit_bytes:
            return
        self.look()
        asyncio.get_running_loop().call_later(LOOK_EVERY_S, self.start)

    def look(self) -> None:
        """Look once."""
        pids = list(self._pids())
        # Pages that several processes share count for each of them here. That is quick, and too
        # much: exact is only worth its milliseconds if this is more than there may be.
        most_bytes = sum(map(self._resident_bytes, pids))
        is_short = most_bytes >= self._short_bytes and (
            sum(map(self._own_bytes, pids)) >= self._short_bytes
        )
        self._tell(is_short)

    def _resident_bytes(self, pid: int) -> int:
        statm = self._read(pid, "statm").split()
        return int(statm[1]) * PAGE_BYTES if statm else 0

    def _own_bytes(self, pid: int) -> int:
        """Of pages that it shares with others it has its share."""
        for line in self._read(pid, "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0

    def _read(self, pid: int, name: str) -> str:
        try:
            return (self._proc / str(pid) / name).read_text(encoding="ascii", errors="replace")
        except OSError:  # it is gone
            return ""
