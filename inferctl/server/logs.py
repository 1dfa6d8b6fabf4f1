"""The request log: one JSON object per line, written off the event loop, never in its way.

Lines wait in a bounded queue; when the disk or the reader is stuck they are dropped and counted.
Several workers append to one file: a line is one write.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from inferctl.arena.ledger import Cell
from inferctl.errors import StartError
from inferctl.server.call import Call, Reply

MAX_WAITING_LINES = 10_000
CLOSE_TIMEOUT_S = 5.0
FILE_MODE = 0o600
STDOUT = "-"

Entry = dict[str, Any]


class RequestLog:
    """Appends entries to `path` ("-" is stdout); on a terminal also as readable lines."""

    def __init__(self, path: str, dropped: Cell, *, terminal: bool) -> None:
        """Open the log. Raises StartError when it cannot be written."""
        self._fd = _open(path)
        self._dropped = dropped
        self._terminal = terminal
        self._waiting: queue.Queue[Entry | None] = queue.Queue(MAX_WAITING_LINES)
        self._writer = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._writer.start()

    def record(self, call: Call, reply: Reply) -> None:
        """Note an answered request."""
        entry: Entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": call.request_id,
            "method": call.scope["method"],
            "path": call.path[:256],
            "model": call.model or None,
            "version": call.version or None,
            "status": reply.status,
            "outcome": reply.outcome,
            "body_bytes": call.body_bytes,
            **{f"{phase}_ms": round(took, 3) for phase, took in call.timings_ms.items()},
            "total_ms": round(call.elapsed_ms, 3),
        }
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._dropped.add()

    def close(self) -> None:
        """Write what waits, and stop."""
        with contextlib.suppress(queue.Full):  # the writer is stuck: leave it behind
            self._waiting.put(None, timeout=CLOSE_TIMEOUT_S)
            self._writer.join(CLOSE_TIMEOUT_S)

    def _write(self) -> None:
        while True:
            entries = [self._waiting.get()]
            while entries[-1] is not None and not self._waiting.empty():
                entries.append(self._waiting.get())
            lines = [entry for entry in entries if entry is not None]
            if lines:
                self._append(lines)
            if entries[-1] is None:
                return

    def _append(self, entries: list[Entry]) -> None:
        data = b"".join(orjson.dumps(entry) + b"\n" for entry in entries)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self._dropped.add(len(entries))
        if self._terminal:
            with contextlib.suppress(OSError):  # the terminal was closed
                sys.stderr.write("".join(readable(entry) for entry in entries))


def readable(entry: Entry) -> str:
    """One line for people: time, status, model, duration."""
    clock = entry["time"][11:23]
    target = entry["model"] or entry["path"].encode("unicode_escape").decode("ascii")
    return (
        f"{clock}  {entry['status']} {entry['outcome']:<20} {target:<16} "
        f"{entry['total_ms']:8.1f} ms  {entry['request_id']}\n"
    )


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
