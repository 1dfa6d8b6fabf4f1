"""Who does jobs on this machine, whether they still live, and the clock that leases run by."""

from __future__ import annotations

import os
import time

from inferctl.jobs.job import Owner
from inferctl.proc import PROC, folder_of, read_stat, text_of

# It goes on while the machine sleeps, and nobody can set it.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# Zombie, dead: what was killed is one of these until its parent asked how it ended.
_ENDED = ("Z", "X")


def boottime_s() -> float:
    """Seconds since this machine booted: one clock for all its processes, which never steps."""
    return time.clock_gettime(_STEADY)


def this_process() -> Owner:
    """Who calls. On other systems than Linux its boot and birth are not known.

    The node has the process ids in its name: containers may have their machine's, and ids apart.
    """
    stat = read_stat(PROC / "self")
    return Owner(
        node=f"{os.uname().nodename} {_process_ids()}".strip(),
        boot=text_of(PROC / "sys" / "kernel" / "random" / "boot_id"),
        pid=os.getpid(),
        born_ticks=stat.born_ticks if stat else 0,
    )


def is_gone(owner: Owner, here: Owner) -> bool:
    """Whether a process of `here`'s machine is known to have ended; never true of another's."""
    if owner.node != here.node or not here.boot:
        return False
    if owner.boot != here.boot:
        return True
    stat = read_stat(folder_of(owner.pid))
    return stat is None or stat.born_ticks != owner.born_ticks or stat.state in _ENDED


def _process_ids() -> str:
    """The namespace that process ids are of; nothing on other systems."""
    try:
        return str((PROC / "self" / "ns" / "pid").readlink())
    except OSError:
        return ""
