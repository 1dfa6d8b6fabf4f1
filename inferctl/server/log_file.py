"""The file of the request log, or the pipe or terminal: takes whole lines, wherever its path leads.

Several workers append to one file. Whoever rotates it renames it, or removes it: the path is looked
at now and then, and opened again when it leads to another file, or to none.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from inferctl.errors import StartError

log = structlog.get_logger()

# Paths and names of keys are nobody else's.
FILE_MODE, FOLDER_MODE = 0o600, 0o700
STDOUT = "-"
# How often the path is looked at, at most; SIGHUP asks for it at once.
LOOK_EVERY_S = 1.0


class LogFile:
    """Lines go to `path`, "-" is stdout. For the writer's thread alone, but for `look_soon`."""

    def __init__(self, path: str) -> None:
        """Open it. Raises StartError when it cannot be written."""
        self._path = path
        try:
            self._fd = sys.stdout.fileno() if path == STDOUT else _open(path)
        except OSError as error:
            raise StartError(
                f"cannot write the request log: {error.strerror}",
                where=path,
                hint="set logs.path to a file in a folder you may write to",
            ) from None
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._is_followed = self._is_file and path != STDOUT
        self.is_terminal = os.isatty(self._fd)
        self._look_at_s = 0.0
        self._is_stuck = False
        # The last line was cut short: the disk was full in the middle of it.
        self._torn = False

    def look_soon(self) -> None:
        """Whoever rotates it says so."""
        self._look_at_s = 0.0

    def follow(self, now_s: float) -> None:
        """Open the path again if it leads elsewhere since; a look a second, unless asked for."""
        if not self._is_followed or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        try:
            if self._has_moved():
                new = _open(self._path)
                os.close(self._fd)
                self._fd, self._torn = new, False
            self._is_stuck = False
        except OSError as error:
            if not self._is_stuck:
                log.warning(
                    "the request log cannot be opened again: lines go to the file that it was",
                    path=self._path, reason=error.strerror,
                )  # fmt: skip
            self._is_stuck = True

    def _has_moved(self) -> bool:
        try:
            there, ours = os.stat(self._path), os.fstat(self._fd)  # noqa: PTH116 - as often as lines come
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)

    def portions(self, lines: list[bytes]) -> Iterator[Sequence[bytes]]:
        """Lines that are taken in one piece, whoever else writes there: of a pipe a few."""
        if self._is_file:
            yield lines
            return
        portion: list[bytes] = []
        room = select.PIPE_BUF
        for line in lines:
            if portion and len(line) > room:
                yield portion
                portion, room = [], select.PIPE_BUF
            portion.append(line)
            room -= len(line)
        yield portion

    def write(self, data: bytes) -> bytes:
        """Write whole lines, behind one that was cut short too; what cannot be written is left."""
        left = b"\n" * self._torn + data
        with contextlib.suppress(OSError):
            while left:
                written = self._write_some(left)
                self._torn = left[:written][-1:] != b"\n"
                left = left[written:]
        return left[-len(data) :]

    def _write_some(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:  # somebody made stdout so; this thread may wait
                select.select((), (self._fd,), ())


def _open(path: str) -> int:
    """Raises OSError."""
    Path(path).parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags, FILE_MODE)
