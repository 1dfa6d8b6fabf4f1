"""Says in the log why rows fail."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from inferctl.engine.session import RunFailed

# Clients may send what fails as often as they like.
TELL_EVERY_S = 10.0
MAX_CHARS = 300


class Complaints:
    """Of one model. Not locked: whoever counts what fails does that."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._rows = 0
        self._tell_at_s = 0.0

    def hear(self, rows: int, error: RunFailed) -> None:
        """So many rows have no answer: it is told now and then, with the last one's reason."""
        self._rows += rows
        if (now_s := self._clock()) < self._tell_at_s:
            return
        self._tell_at_s = now_s + TELL_EVERY_S
        what = "".join(char if char.isprintable() else " " for char in error.what[:MAX_CHARS])
        counted = "1 row" if self._rows == 1 else f"{self._rows} rows"
        sys.stderr.write(f"inferctl: {self._name}: {counted} failed, the last one: {what}\n")
        self._rows = 0
