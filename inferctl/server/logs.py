"""The request log: one JSON object per line, written off the event loop, never in its way.

Lines gather in a bounded list; when the disk or the reader is stuck they are dropped and counted,
and once there is room again a line says how many.
Several workers append to one file, whole lines at a time.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from inferctl.arena.cells import Cell
from inferctl.errors import StartError
from inferctl.requestlog.readable import readable
from inferctl.server.call import Call, Reply
from inferctl.server.line import DROPPED, line_of

MAX_WAITING_LINES = 10_000
# Lines gather so long before they are written together.
GATHER_S = 0.05
CLOSE_TIMEOUT_S = 2.0
# Paths and names of keys are nobody else's.
FILE_MODE, FOLDER_MODE = 0o600, 0o700
STDOUT = "-"


class RequestLog:
    """Appends entries to `path` ("-" is stdout); on a terminal also as readable lines."""

    def __init__(self, path: str, dropped: Cell, *, terminal: bool) -> None:
        """Open the log. Raises StartError when it cannot be written."""
        self._fd = _open(path)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._dropped = dropped
        # How many the log itself says are missing.
        self._told = int(dropped.get())
        # The last line was cut short: the disk was full in the middle of it.
        self._torn = False
        self._terminal = terminal
        self._lines: deque[bytes] = deque()
        self._now_ms, self._clock = 0, b""
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._writer.start()

    def record(self, call: Call, reply: Reply) -> None:
        """Note an answered request."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._dropped.add()
            return
        self._lines.append(line_of(self._now(), call, reply))
        if not self._waiting.is_set():
            self._waiting.set()

    def _now(self) -> bytes:
        """The time of day; made once a millisecond."""
        now_ms = int(time.time() * 1000)
        if now_ms != self._now_ms:
            self._now_ms, self._clock = now_ms, _clock(now_ms / 1000)
        return self._clock

    def close(self) -> None:
        """Write what waits, and stop. A writer that is stuck is left behind."""
        self._closing.set()
        self._waiting.set()
        self._writer.join(CLOSE_TIMEOUT_S)

    def _write(self) -> None:
        closing = False
        while not closing:
            self._waiting.wait()
            closing = self._closing.wait(GATHER_S)
            self._waiting.clear()
            self._append()

    def _append(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        for portion in [lines][: len(lines)] if self._is_file else _portions(lines):
            self._put(portion)
        if self._terminal:
            sys.stderr.writelines(f"{readable(orjson.loads(line))}\n" for line in lines)

    def _put(self, lines: list[bytes]) -> None:
        """Write lines, after how many went missing before them; count those that now do."""
        dropped = int(self._dropped.get())
        missing = dropped - self._told
        if missing and not self._write_out(DROPPED % (_clock(time.time()), missing)):
            self._told = dropped
        if left := self._write_out(b"".join(lines)):
            self._dropped.add(left.count(b"\n"))

    def _write_out(self, data: bytes) -> bytes:
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


def _clock(now_s: float) -> bytes:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").encode("ascii")


def _portions(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines that a pipe takes in one piece, whoever else writes to it."""
    portion: list[bytes] = []
    room = select.PIPE_BUF
    for line in lines:
        if portion and len(line) > room:
            yield portion
            portion, room = [], select.PIPE_BUF
        portion.append(line)
        room -= len(line)
    if portion:
        yield portion


def _open(path: str) -> int:
    if path == STDOUT:
        return sys.stdout.fileno()
    try:
        Path(path).parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise StartError(
            f"cannot write the request log: {error.strerror}",
            where=path,
            hint="set logs.path to a file in a folder you may write to",
        ) from None
