"""What the engine reads of the machine's GPUs, for everybody to see.

One process writes it at a time; a time tells a reader whether what it says is still true.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from inferctl.arena.sheet import Sheet

# About 40 GPUs; those beyond are not told of.
BOARD_BYTES = 16 * 1024
# What was read longer ago may be true no more: whoever reads it is gone, or NVML hangs.
STALE_S = 5.0


class Gpu(NamedTuple):
    """One device; a figure that cannot be read is None. `is_own`: this service's engine is on it.

    `utilization` is 0 to 1, `energy_j` counts since the driver was loaded.
    """

    number: int
    uuid: str
    name: str
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilization: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    is_own: bool = False


class Board:
    """In shared memory of BOARD_BYTES."""

    def __init__(self, memory: memoryview[int]) -> None:
        self._sheet = Sheet(memory)

    def write(self, gpus: Sequence[Gpu], now_s: float) -> None:
        """These were read just now, on the monotonic clock."""
        told = list(gpus)
        while len(text := json.dumps([now_s, told]).encode("ascii")) > self._sheet.room:
            told.pop()
        self._sheet.write(text)

    def read(self, now_s: float) -> list[Gpu]:
        """What was read last; nothing when that is long ago."""
        text = self._sheet.read()
        if not text:
            return []
        read_s, gpus = json.loads(text)
        return [Gpu(*gpu) for gpu in gpus] if now_s - read_s < STALE_S else []
