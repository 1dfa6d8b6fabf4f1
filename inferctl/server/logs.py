"""The request log: one JSON object per line, written off the event loop, never in its way.

Lines gather in a bounded list; when the disk or the reader is stuck they are dropped and counted,
and once there is room again a line says how many.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from random import random

import orjson

from inferctl.arena.cells import Cell
from inferctl.observation import LogsSettings
from inferctl.requestlog.readable import readable
from inferctl.server.backlog import CLOSE_TIMEOUT_S, Backlog
from inferctl.server.call import OK, Call, Reply
from inferctl.server.line import DROPPED, line_of
from inferctl.server.log_file import STDOUT, LogFile
from inferctl.server.traceparent import least_left_out

MAX_WAITING_LINES = 10_000
# Lines gather so long before they are written together.
GATHER_S = 0.05


class RequestLog:
    """Appends entries to the file of the settings.

    `terminal` is whether stderr is one: people who run the service by hand read it there too.
    """

    def __init__(self, settings: LogsSettings, dropped: Cell, *, terminal: bool) -> None:
        """Open the log. Raises StartError when it cannot be written."""
        self._file = file = LogFile(settings.path)
        is_auto = settings.format == "auto"
        self._is_text = settings.format == "text" or (is_auto and file.is_terminal)
        self._is_echoed = terminal and is_auto and settings.path != STDOUT
        self._is_sampled = settings.sample_rate < 1
        self._rate, self._slow_ms = settings.sample_rate, settings.slow_ms
        self._least_left_out = least_left_out(settings.sample_rate)
        self._dropped = dropped
        # How many the log itself says are missing.
        self._told = int(dropped.get())
        self._now_ms, self._clock = 0, b""
        self._backlog: Backlog[bytes] = Backlog("request-log", GATHER_S, self._append)
        self._lines = self._backlog.items

    def record(self, call: Call, reply: Reply) -> None:
        """Note an answered request; of those that went well and fast a sample."""
        if self._is_sampled and reply.outcome == OK and call.total_ms < self._slow_ms:
            trace_id = call.trace.trace_id if call.trace else call.unkept_trace_id
            if trace_id[16:] >= self._least_left_out if trace_id else random() >= self._rate:
                return
        if len(self._lines) >= MAX_WAITING_LINES:
            self._dropped.add()
            return
        self._backlog.add(line_of(self._now(), call, reply))

    def _now(self) -> bytes:
        """The time of day; made once a millisecond."""
        now_ms = int(time.time() * 1000)
        if now_ms != self._now_ms:
            self._now_ms, self._clock = now_ms, _clock(now_ms / 1000)
        return self._clock

    def reopen(self) -> None:
        """Its file was renamed: the next line goes to a new one, and the old one is let go."""
        self._file.look_soon()
        self._backlog.wake()

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Write what waits, and stop. A writer that is stuck is left behind."""
        self._backlog.close(timeout_s)

    def _append(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        self._file.follow(time.monotonic())
        if not lines:
            return
        for portion in self._file.portions([*map(_readable, lines)] if self._is_text else lines):
            self._put(portion)
        if self._is_echoed:
            sys.stderr.writelines(_readable(line).decode("ascii") for line in lines)

    def _put(self, lines: Sequence[bytes]) -> None:
        """Write lines, after how many went missing before them; count those that now do."""
        dropped = int(self._dropped.get())
        if missing := dropped - self._told:
            notice = DROPPED % (_clock(time.time()), missing)
            if not self._file.write(_readable(notice) if self._is_text else notice):
                self._told = dropped
        if left := self._file.write(b"".join(lines)):
            self._dropped.add(left.count(b"\n"))


def _clock(now_s: float) -> bytes:
    """UTC in ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").encode("ascii")


def _readable(line: bytes) -> bytes:
    return f"{readable(orjson.loads(line))}\n".encode("ascii")
