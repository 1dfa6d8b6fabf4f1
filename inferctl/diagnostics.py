"""stderr whose reader may be slow, stuck or gone: no process of a service waits for it."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
from collections.abc import Callable

STDERR = 2


def unblock_stderr() -> None:
    """Let `sys.stderr` drop what finds no room, in this process and in its forks."""
    with contextlib.suppress(OSError):
        _give_up_waiting(STDERR)
    sys.stderr = io.TextIOWrapper(
        Unwaiting(STDERR), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


class Unwaiting(io.RawIOBase):
    """Writes to a descriptor without ever waiting; says how many lines were lost once it can."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lost_lines = 0
        self._torn = False
        room = select.poll()
        room.register(fd, select.POLLOUT)
        self._room: Callable[[int], object] = room.poll

    def writable(self) -> bool:
        """It takes whatever comes."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether people read it."""
        return os.isatty(self._fd)

    def write(self, data: bytes) -> int:  # type: ignore[override] # TextIOWrapper hands over bytes
        """Write what there is room for; all of it counts as written."""
        notice = b"\n" if self._torn else b""
        if self._lost_lines:
            notice += b"inferctl: %d lines were lost here\n" % self._lost_lines
        whole = notice + data
        written = self._write(whole)
        if written >= len(notice):
            self._lost_lines = 0
        left = whole[written:]
        self._lost_lines += min(left.count(b"\n"), data.count(b"\n"))
        if written:
            self._torn = not whole[:written].endswith(b"\n")
        return len(data)

    def _write(self, data: bytes) -> int:
        """How much of it found room."""
        # Where waiting could not be given up, the room there is must do.
        with contextlib.suppress(OSError, ValueError):
            if self._room(0):
                return os.write(self._fd, data)
        return 0


def _give_up_waiting(fd: int) -> None:
    """Make writes to a descriptor fail where they would wait. Raises OSError where it cannot be."""
    kind = os.fstat(fd).st_mode
    if stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
        # Of its own: who started us has the same terminal, and waits for it.
        try:
            own = os.open(f"/dev/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except PermissionError:
            if stat.S_ISCHR(kind):
                raise
        else:
            os.dup2(own, fd)
            os.close(own)
            return
    if not stat.S_ISREG(kind):
        os.set_blocking(fd, False)
