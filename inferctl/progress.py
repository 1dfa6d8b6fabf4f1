"""Whether a process that does not get on could: whether it has work for a core, and gets none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inferctl.proc import PROC, folder_of, read_stat

# What passes between two looks counts up to this: whoever looked late was not running either.
LONGEST_LOOK_S = 0.1
# Whose CPU is less than this share of the time, and who wants more, is starved and does not hang.
STARVED = 0.5

# A thread that runs or waits for a core, and one that waits for a page from a disk.
WANTING = ("R", "D")


class Allowance:
    """What a process has had, of the time that it is given for something and of a core."""

    def __init__(self) -> None:
        self._had_s = self._looked_s = self._cpu_s = 0.0

    def begin(self, since_s: float, now_s: float, cpu_s: float) -> None:
        """It began something at a moment, and has used so much CPU until now."""
        self._had_s = min(now_s - since_s, LONGEST_LOOK_S)
        self._looked_s, self._cpu_s = now_s, cpu_s

    def is_over(
        self, limit_s: float, now_s: float, cpu_s: float, wants_cpu: Callable[[], bool]
    ) -> bool:
        """Whether it had so long, and CPU too, unless it does not want any; ask often."""
        self._had_s += min(now_s - self._looked_s, LONGEST_LOOK_S)
        self._looked_s = now_s
        return self._had_s >= limit_s and (
            cpu_s - self._cpu_s >= STARVED * limit_s or not wants_cpu()
        )


def wants_cpu(pid: int, but: int = 0, proc: Path = PROC) -> bool:
    """Whether a thread of a process runs or would; not if all sleep, or were stopped.

    `but` is a thread that is not looked at. Where there is no /proc, the answer is no.
    """
    folder = folder_of(pid, proc) / "task"
    try:
        tasks = [task for task in folder.iterdir() if task.name != f"{but}"]
    except OSError:
        return False
    return any(map(_wants_cpu, tasks))


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """CPU that all threads of a process used; 0 where that is not known."""
    stat = read_stat(folder_of(pid, proc))
    return stat.cpu_s if stat else 0.0


def _wants_cpu(task: Path) -> bool:
    stat = read_stat(task)  # it may have ended meanwhile
    return stat is not None and stat.state in WANTING
