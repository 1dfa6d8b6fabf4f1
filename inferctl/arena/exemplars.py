"""A request of each bucket of the latencies, by its trace: whoever sees a slow one can look it up.

Each worker writes its own, and is not waited for: a checksum tells a reader whether it is whole.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from typing import NamedTuple

from inferctl.arena.metric import LATENCY_BUCKETS_S

BUCKETS = len(LATENCY_BUCKETS_S) + 1
# Seconds that it took, when it ended since 1970, its trace; and before them their checksum.
BODY = struct.Struct("<dd16s")
CHECKSUM = struct.Struct("<I")
EXEMPLAR_BYTES = CHECKSUM.size + BODY.size
# Of one place.
EXEMPLARS_BYTES = BUCKETS * EXEMPLAR_BYTES
NONE = bytes(EXEMPLARS_BYTES)


class Exemplar(NamedTuple):
    """A request: its latency, when it ended since 1970, and its trace in hex."""

    latency_s: float
    ended_s: float
    trace_id: str


class Exemplars:
    """The last request of each bucket, of one process and one place."""

    def __init__(self, memory: memoryview[int]) -> None:
        self._memory = memory

    def keep(self, latency_s: float, ended_s: float, trace_id: bytes) -> None:
        """A request that took so long ended; `trace_id` is in hex."""
        start = bisect_left(LATENCY_BUCKETS_S, latency_s) * EXEMPLAR_BYTES
        body = BODY.pack(latency_s, ended_s, bytes.fromhex(trace_id.decode("ascii")))
        self._memory[start : start + EXEMPLAR_BYTES] = CHECKSUM.pack(zlib.crc32(body)) + body

    def read(self, bucket: int) -> Exemplar | None:
        """That of a bucket; None of one that has none, or is just being written."""
        start = bucket * EXEMPLAR_BYTES
        one = bytes(self._memory[start : start + EXEMPLAR_BYTES])
        body = one[CHECKSUM.size :]
        if not any(body) or CHECKSUM.unpack_from(one) != (zlib.crc32(body),):
            return None
        latency_s, ended_s, trace_id = BODY.unpack(body)
        return Exemplar(latency_s, ended_s, trace_id.hex())

    def are_none(self) -> bool:
        """Whether there never was one, as where nobody traces."""
        return self._memory == NONE

    def clear(self) -> None:
        """There are none."""
        self._memory[:] = NONE
