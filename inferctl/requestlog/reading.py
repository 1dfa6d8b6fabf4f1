"""The lines of a file: forwards, backwards, and those that still come.

They are handed over in blocks of whole lines: what is looked for is mostly not in them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from io import BufferedReader
from pathlib import Path

from inferctl.errors import UsageError

BLOCK_BYTES = 1024 * 1024
POLL_S = 0.1
# So long lines may come to a file that was renamed: services look for a new one every second.
LINGER_S = 2.0


def open_log(path: Path) -> BufferedReader:
    """Open a request log. Raises UsageError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read the request log: {error.strerror}",
            where=str(path),
            hint="name its FILE, or come to the folder in which the service was started",
        ) from None


def forwards(file: BufferedReader) -> Iterator[bytes]:
    """From where it is to the end; the last line may have none."""
    rest = b""
    while data := file.read1(BLOCK_BYTES):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        yield lines + newline
    yield rest


def backwards(file: BufferedReader, end: int) -> Iterator[bytes]:
    """What is before a place, the last block first."""
    rest = b""
    while end:
        start = max(0, end - BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start) + rest
        rest, end = b"", start
        if start:
            first, newline, block = block.partition(b"\n")
            rest = first + newline
        yield block


def end_of_lines(file: BufferedReader) -> int:
    """Where the last whole line ends."""
    end = os.fstat(file.fileno()).st_size
    while end:
        start = max(0, end - BLOCK_BYTES)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


class _Tail:
    """A file to whose end lines are appended."""

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        self._rest = b""
        # When the path began to lead elsewhere.
        self.left_at_s = 0.0

    def grown(self) -> bytes:
        """The whole lines that came; from the start again when it was emptied."""
        if os.fstat(self.file.fileno()).st_size < self.file.tell():
            self.file.seek(0)
            self._rest = b""
        lines, newline, self._rest = (self._rest + self.file.read(BLOCK_BYTES)).rpartition(b"\n")
        return lines + newline

    def is_at(self, path: Path) -> bool:
        """Whether the path leads to it; one that leads nowhere will lead elsewhere."""
        try:
            there, here = path.stat(), os.fstat(self.file.fileno())
        except FileNotFoundError:
            return True
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def follow(
    path: Path, file: BufferedReader, wait: Callable[[float], object] = time.sleep
) -> Generator[bytes]:
    """What comes, from where the file is, for ever; of each file that takes its place too.

    Raises UsageError when a new file cannot be read.
    """
    tails = [_Tail(file)]
    try:
        while True:
            grown = [tail.grown() for tail in tails]
            yield from filter(None, grown)
            if not any(grown):
                _turn(path, tails, time.monotonic())
                wait(POLL_S)
    finally:
        for tail in tails:
            tail.file.close()


def _turn(path: Path, tails: list[_Tail], now_s: float) -> None:
    """Nothing came: look for a new file, and let go of those to which nobody writes any more."""
    if not tails[-1].is_at(path):
        tails[-1].left_at_s = now_s
        tails.append(_Tail(open_log(path)))
    while len(tails) > 1 and tails[0].left_at_s + LINGER_S < now_s:
        tails.pop(0).file.close()
