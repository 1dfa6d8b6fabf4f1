"""One writer at a time, of all processes that have the store open."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How often one looks whether it is its turn: about what a transaction takes.
LOOK_EVERY_S = 0.0005


class Turn:
    """Who holds it writes, and checkpoints: SQLite before 3.51.3 may damage a file if two do.

    It is a lock of the folder, which nobody deletes by mistake, and ends with whoever holds it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @contextmanager
    def taken(self, wait_s: float) -> Iterator[None]:
        """Within the block it is ours. Raises TimeoutError when it is not by then."""
        until_s = time.monotonic() + wait_s
        while not self._take():
            if time.monotonic() > until_s:
                raise TimeoutError
            time.sleep(LOOK_EVERY_S)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Have no part in it any more."""
        os.close(self._descriptor)

    def _take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
