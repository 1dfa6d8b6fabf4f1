"""Every request of this process, exactly: what Locust keeps is rounded."""

from __future__ import annotations

import os
import time
from array import array
from pathlib import Path

FLUSH_S = 0.1


class Records:
    """Native float64 in `requests-PID.f64`, four per request in order of end: when it was to begin,
    when it did, when it ended (monotonic clock, seconds), its HTTP status, or 0 without an answer.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"requests-{os.getpid()}.f64"
        self._cells = array("d")
        self._flushed_s = 0.0

    def add(self, begun_s: float, sent_s: float, ended_s: float, status: int) -> None:
        """One request."""
        self._cells.extend((begun_s, sent_s, ended_s, status))

    def flush(self) -> None:
        """Append what was recorded to the file, so that others can read on."""
        if self._cells:
            with self._path.open("ab") as file:
                self._cells.tofile(file)
            del self._cells[:]

    def flush_sometimes(self) -> None:
        """The same, ten times a second."""
        now_s = time.monotonic()
        if now_s >= self._flushed_s + FLUSH_S:
            self._flushed_s = now_s
            self.flush()
