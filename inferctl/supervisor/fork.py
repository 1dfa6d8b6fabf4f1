"""A process that begins as a copy of this one: the memory that neither writes to is theirs both."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

STANDARD = (0, 1, 2)
OPEN = Path("/dev/fd")
# Of a signal to the whole group only the parent makes something.
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def freeze() -> None:
    """Keep the collector from what was made so far: it would write to it, and end the sharing."""
    gc.collect()
    gc.freeze()


def fork(work: Callable[[], object], inherited: Collection[int]) -> int:
    """The pid of a new process that does `work` and exits, as an interpreter would after it.

    Of the descriptors it has stdout, stderr and those `inherited`; its session is its own.
    """
    _flush()  # or both would write what waits
    # A signal waits until each of the two has handlers of its own.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(work, inherited, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(
    work: Callable[[], object], inherited: Collection[int], mask: Collection[int]
) -> NoReturn:
    """The child's whole life. It never returns: above are the frames of the parent, and what they
    hold would be closed a second time, under numbers that are others' now."""
    code = 1
    try:
        # Nor may what nobody holds any more be collected here.
        gc.freeze()
        _leave_signals()
        os.setsid()
        _leave_descriptors(inherited)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
        code = 0
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException:  # noqa: BLE001 - the outermost frame: what an interpreter does with it
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _exit_code(said: object) -> int:
    if said is None or isinstance(said, int):
        return said or 0
    sys.stderr.write(f"{said}\n")
    return 1


def _leave_signals() -> None:
    """No handler of the parent's, and nothing that would wake its loop."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        elif callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _leave_descriptors(inherited: Collection[int]) -> None:
    """Close every number that is not `inherited`, whatever it is: a control socket of which a
    process holds a copy would not tell that the other side is dead."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    kept = sorted({*STANDARD, *inherited, _beyond_the_last()})
    for below, above in pairwise(kept):
        os.closerange(below + 1, above)


def _beyond_the_last() -> int:
    """A number above those of all open descriptors."""
    try:
        return max(int(path.name) for path in OPEN.iterdir()) + 1
    except OSError:
        return os.sysconf("SC_OPEN_MAX")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was open at the start
            with contextlib.suppress(OSError, ValueError):  # its reader is gone, or it is closed
                stream.flush()
