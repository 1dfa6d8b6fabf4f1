"""What the system's files say, as /proc/PID/stat of a process, or of one of its threads."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """`state` is a letter, see proc(5); `cpu_s` is user and system; memory is its process'.

    `born_ticks` is when it started, since the machine did: no two with one number share it.
    """

    state: str
    cpu_s: float
    resident_bytes: int
    born_ticks: int


# As many as are looked at again and again.
@lru_cache(maxsize=256)
def folder_of(pid: int, proc: Path = PROC) -> Path:
    """Where the system tells of a process.

    Kept, since pathlib interns the names in a path: in Python's table of them each that comes anew
    takes another place, until after some minutes of many looks a second the table is made again,
    2 MB that were shared with the workers.
    """
    return proc / str(pid)


def text_of(file: Path) -> str:
    """What one of the system's files says; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def read_stat(folder: Path) -> Stat | None:
    """Of whose folder in /proc that is; None when it has ended, and where there is no /proc."""
    # The name is in parentheses and may hold anything: fields count from behind it.
    fields = text_of(folder / "stat").rpartition(")")[2].split()
    if not fields:
        return None
    return Stat(
        state=fields[0],
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        resident_bytes=int(fields[21]) * PAGE_BYTES,
        born_ticks=int(fields[19]),
    )


def read_cpu_s(folder: Path) -> float | None:
    """CPU seconds of the threads that a process has, to the nanosecond; None as `read_stat`.

    Where the kernel does not say so exactly they are of all threads, in ticks of 10 ms.
    """
    parts = [text_of(thread / "schedstat").split() for thread in (folder / "task").glob("*")]
    if parts and all(parts):
        return sum(int(part[0]) for part in parts) / 1e9
    stat = read_stat(folder)
    return stat.cpu_s if stat else None
