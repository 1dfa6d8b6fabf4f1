"""Whether a process that does not get on could: whether it has work for a core, and gets none."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
# A thread that runs or waits for a core, and one that waits for a page from a disk.
WANTING = ("R", "D")


def wants_cpu(pid: int, but: int = 0, proc: Path = PROC) -> bool:
    """Whether a thread of a process runs or would; not if all sleep, or were stopped.

    `but` is a thread that is not looked at. Where there is no /proc, the answer is no.
    """
    try:
        tasks = [task for task in (proc / f"{pid}/task").iterdir() if task.name != f"{but}"]
        return any(_fields(task)[0] in WANTING for task in tasks)
    except (OSError, IndexError):  # it ended meanwhile
        return False


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """CPU that all threads of a process used; 0 where that is not known."""
    try:
        user, system = _fields(proc / f"{pid}")[11:13]
    except (OSError, ValueError):
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _fields(task: Path) -> list[str]:
    """What stands behind the name, which may hold anything."""
    return (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
