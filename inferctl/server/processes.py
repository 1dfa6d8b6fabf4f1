"""What the system knows of the service's processes."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from inferctl.arena.ledger import CPU_BASE_S, PID, Ledger

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Processes:
    """Those that write the blocks of a ledger."""

    def __init__(self, ledger: Ledger, proc: Path = PROC) -> None:
        self._ledger = ledger
        self._proc = proc
        # A process may die between its last reading and the supervisor's account of it.
        self._cpu_seen_s: dict[str, float] = {}

    def usage(self) -> dict[str, tuple[float, float]]:
        """CPU seconds, of those too that are gone, and resident bytes, by role."""
        cpu_s: dict[str, float] = defaultdict(float)
        resident: dict[str, float] = defaultdict(float)
        for number, block in enumerate(self._ledger.blocks):
            role = self._ledger.role(number)
            cpu_s[role] += block.state(CPU_BASE_S).get()
            if stat := self._stat(int(block.state(PID).get())):
                cpu_s[role] += stat[0]
                resident[role] += stat[1]
        for role, seconds in cpu_s.items():
            self._cpu_seen_s[role] = max(seconds, self._cpu_seen_s.get(role, 0.0))
        return {role: (seen_s, resident[role]) for role, seen_s in self._cpu_seen_s.items()}

    def _stat(self, pid: int) -> tuple[float, float] | None:
        """CPU seconds and resident bytes of a live process; None where /proc does not tell."""
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        # The command name is in parentheses and may hold spaces: fields count from behind it.
        fields = text.rpartition(")")[2].split()
        return (
            (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
            float(int(fields[21]) * PAGE_BYTES),
        )
