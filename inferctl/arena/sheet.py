"""A text in shared memory that one process writes and all may read.

Nobody waits for anybody: a checksum tells a reader whether what it sees is whole.
"""

from __future__ import annotations

import struct
import zlib

# Checksum and length of what follows.
HEAD = struct.Struct("<II")
# A reader that meets the writer so often gives up.
ATTEMPTS = 3


class Sheet:
    """`room` is how long a text it holds, in bytes."""

    def __init__(self, memory: memoryview[int]) -> None:
        self._memory = memory
        self.room = len(memory) - HEAD.size

    def write(self, text: bytes) -> None:
        """This is what it says from now on; it fits."""
        self._memory[HEAD.size : HEAD.size + len(text)] = text
        self._memory[: HEAD.size] = HEAD.pack(zlib.crc32(text), len(text))

    def read(self) -> bytes:
        """What was written last; nothing if that is nothing whole."""
        for _ in range(ATTEMPTS):
            checksum, size = HEAD.unpack(self._memory[: HEAD.size])
            text = bytes(self._memory[HEAD.size : HEAD.size + size])
            if text and zlib.crc32(text) == checksum:
                return text
        return b""
