"""The request log: one JSON object per line, written off the event loop, never in its way.

Lines gather in a bounded list; when the disk or the reader is stuck they are dropped and counted.
Several workers append to one file, whole lines at a time.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from select import PIPE_BUF

import orjson

from inferctl.arena.ledger import Cell
from inferctl.errors import StartError
from inferctl.server.call import PHASES, Call, Reply

MAX_WAITING_LINES = 10_000
# Lines gather so long before they are written together.
GATHER_S = 0.05
CLOSE_TIMEOUT_S = 5.0
FILE_MODE = 0o600
STDOUT = "-"

LOGGED_PHASES = tuple(
    "".join(f'"{phase}_ms":%.3f,' for phase in PHASES[:reached])
    for reached in range(len(PHASES) + 1)
)


class RequestLog:
    """Appends entries to `path` ("-" is stdout); on a terminal also as readable lines."""

    def __init__(self, path: str, dropped: Cell, *, terminal: bool) -> None:
        """Open the log. Raises StartError when it cannot be written."""
        self._fd = _open(path)
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._dropped = dropped
        self._terminal = terminal
        self._lines: deque[str] = deque()
        self._readable: deque[str] = deque()
        self._second, self._clock = 0, ""
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._writer.start()

    def record(self, call: Call, reply: Reply) -> None:
        """Note an answered request."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._dropped.add()
            return
        # Of what is written here only the path could need JSON's escapes.
        path = orjson.dumps(call.path[:256]).decode()
        model = f'"{call.model}","version":{call.version}' if call.model else 'null,"version":null'
        phases = LOGGED_PHASES[len(call.phases_ms)] % tuple(call.phases_ms)
        self._lines.append(
            f'{{"time":"{self._now()}","request_id":"{call.request_id}","method":"{call.method}",'
            f'"path":{path},"model":{model},"status":{reply.status},"outcome":"{reply.outcome}",'
            f'"body_bytes":{call.body_bytes},{phases}"total_ms":{call.total_ms:.3f}}}\n'
        )
        if self._terminal:
            self._readable.append(self._for_people(call, reply))
        if not self._waiting.is_set():
            self._waiting.set()

    def _for_people(self, call: Call, reply: Reply) -> str:
        """One line for a terminal: time, status, model, duration."""
        target = call.model or call.path[:256].encode("unicode_escape").decode("ascii")
        return (
            f"{self._now()[11:23]}  {reply.status} {reply.outcome:<20} {target:<16} "
            f"{call.total_ms:8.1f} ms  {call.request_id}\n"
        )

    def _now(self) -> str:
        """UTC in ISO 8601 with milliseconds; the part that changes once a second is kept."""
        now_s = time.time()
        second = int(now_s)
        if second != self._second:
            self._clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._clock}.{int((now_s - second) * 1000):03d}+00:00"

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
        lines = [self._lines.popleft().encode() for _ in range(len(self._lines))]
        try:
            for portion in [lines] if self._is_file else _portions(lines):
                data = b"".join(portion)
                while data:
                    data = data[os.write(self._fd, data) :]
        except OSError:
            self._dropped.add(len(lines))
        if self._terminal:
            with contextlib.suppress(OSError):  # the terminal was closed
                while self._readable:
                    sys.stderr.write(self._readable.popleft())


def _portions(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines that a pipe takes in one piece, whoever else writes to it."""
    portion: list[bytes] = []
    room = PIPE_BUF
    for line in lines:
        if portion and len(line) > room:
            yield portion
            portion, room = [], PIPE_BUF
        portion.append(line)
        room -= len(line)
    if portion:
        yield portion


def _open(path: str) -> int:
    if path == STDOUT:
        return sys.stdout.fileno()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise StartError(
            f"cannot write the request log: {error.strerror}",
            where=path,
            hint="set logs.path to a file in a folder you may write to",
        ) from None
