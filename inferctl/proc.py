"""What /proc/PID/stat says of a process, or of one of its threads."""

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


def read_stat(folder: Path) -> Stat | None:
    """Of whose folder in /proc that is; None when it has ended, and where there is no /proc."""
    try:
        text = (folder / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name is in parentheses and may hold anything: fields count from behind it.
    fields = text.rpartition(")")[2].split()
    return Stat(
        state=fields[0],
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        resident_bytes=int(fields[21]) * PAGE_BYTES,
    )
