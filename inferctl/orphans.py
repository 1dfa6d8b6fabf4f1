"""What becomes of a process whose parent is killed."""

from __future__ import annotations

import ctypes
import signal

# Linux' number for it, see sys/prctl.h.
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Let this process be killed as soon as its parent is dead; not on other systems than Linux.

    Also when it hangs: a closed control socket ends only a process that reads it.
    """
    if hasattr(_libc, "prctl"):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
