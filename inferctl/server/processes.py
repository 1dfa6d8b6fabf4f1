"""What the system knows of the service's processes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from inferctl.arena.ledger import CPU_BASE_S, PID, Ledger
from inferctl.proc import PROC, folder_of, read_stat


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
            if stat := read_stat(folder_of(int(block.state(PID).get()), self._proc)):
                cpu_s[role] += stat.cpu_s
                resident[role] += stat.resident_bytes
        for role, seconds in cpu_s.items():
            self._cpu_seen_s[role] = max(seconds, self._cpu_seen_s.get(role, 0.0))
        return {role: (seen_s, resident[role]) for role, seen_s in self._cpu_seen_s.items()}
