"""What a server's processes cost: CPU seconds and memory of a whole process tree, from /proc.

A process belongs to the tree when it descends from the root, or did when it was seen before. A
process that ended is counted by whoever waited for it; one that nobody of the tree waited for
counts with what it had used when it was last seen.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc/PID/stat; `ticks` includes those of children that were waited for."""

    pid: int
    parent: int
    state: str
    ticks: int
    started: int

    @property
    def ended(self) -> bool:
        """Only its exit status is left."""
        return self.state in "ZX"


def parse_stat(line: str) -> Process:
    """Read a line; the command's name stands in brackets and may hold anything."""
    pid, _, rest = line.partition(" (")
    fields = rest[rest.rindex(")") + 2 :].split()
    ticks = sum(map(int, fields[11:15]))
    return Process(int(pid), int(fields[1]), fields[0], ticks, int(fields[19]))


def all_processes() -> dict[int, Process]:
    """Every process that can be read."""
    return {process.pid: process for process in _read_all()}


class ProcessTree:
    """The processes below and including `root`."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, Process] = {}
        self._lost_ticks = 0

    def processes(self) -> list[Process]:
        """The tree now, ended ones that nobody waited for yet included."""
        running = all_processes()
        members = {pid for pid, known in self._seen.items() if _same(running.get(pid), known)}
        members |= {self._root} & set(running)
        grown = True
        while grown:
            new = {p.pid for p in running.values() if p.parent in members} - members
            members |= new
            grown = bool(new)
        for pid, known in self._seen.items():
            if pid not in members and pid != self._root and known.parent not in self._seen:
                self._lost_ticks += known.ticks
        self._seen = {pid: running[pid] for pid in members}
        return list(self._seen.values())

    def cpu_s(self) -> float:
        """CPU seconds used since the root started, by all that ever belonged to the tree."""
        ticks = sum(process.ticks for process in self.processes())
        return (ticks + self._lost_ticks) / TICKS_PER_S

    def pss_mb(self) -> float:
        """Memory; what processes share is counted once."""
        return sum(_pss_kb(process.pid) for process in self.processes()) / 1024

    def stop(self, patience_s: float = 8.0) -> None:
        """End the tree, and wait until it is gone.

        SIGTERM to the root, then to those it leaves behind; SIGKILL to what is left after a while.
        """
        give_up_s = time.monotonic() + patience_s
        told: set[int] = set()
        while alive := [process.pid for process in self.processes() if not process.ended]:
            if time.monotonic() > give_up_s:
                self._signal(alive, signal.SIGKILL)
            else:
                next_ones = [self._root] if self._root in alive else alive
                self._signal(set(next_ones) - told, signal.SIGTERM)
                told.update(next_ones)
            time.sleep(POLL_S)

    def _signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _read_all() -> Iterator[Process]:
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                yield parse_stat((folder / "stat").read_text())


def _same(process: Process | None, known: Process) -> bool:
    """Pids are used again, start times with them are not."""
    return process is not None and process.started == known.started


def _pss_kb(pid: int) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
