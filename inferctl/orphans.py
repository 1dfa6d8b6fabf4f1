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


def end_soon_after_parent() -> None:
    """As `end_with_parent`, three seconds later: who does not hang has ended by itself then."""
    if hasattr(_libc, "prctl"):
        # No handler of Python's, which a process that hangs might never come to: `alarm` itself.
        # It takes what a handler is told, the number of the signal, for seconds, and SIGQUIT is 3.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _libc.signal(signal.SIGQUIT, ctypes.cast(_libc.alarm, ctypes.c_void_p))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
