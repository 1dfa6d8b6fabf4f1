"""What the system's files say, as /proc/PID/stat of a process, or of one of its threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """`state` is a letter, see proc(5); `cpu_s` is user and system; memory is its process'."""

    state: str
    cpu_s: float
    resident_bytes: int


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
    )
