"""Latencies as an HDR histogram: every answer counted, each within a thousandth of its latency.

The text is HdrHistogram's compressed V2 encoding in base64, which the libraries of Java, C, Go,
Rust, JavaScript and Python read; values are nanoseconds. Written here in numpy, since the Python
library wants setuptools and pbr wherever it runs.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferctl.bench.figures import nearest_rank

NS_PER_MS = 1e6
SIGNIFICANT_DIGITS = 3
# 2 x 10 ** SIGNIFICANT_DIGITS, up to the next power of two: counts of a bucket of values.
SUB_BUCKETS_LOG2 = 11
HALF_LOG2 = SUB_BUCKETS_LOG2 - 1
# An hour; what took longer counts as that.
HIGHEST_NS = 3_600 * 10**9

# The format's marks, each with the size of a word in it.
ENCODED, COMPRESSED = 0x1C849313, 0x1C849314
# Mark, bytes of counts, offset, digits, lowest and highest value, ratio to another unit.
HEADER = struct.Struct(">iiiiqqd")
WRAPPER = struct.Struct(">ii")
MAX_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` of the slots `indices`, ascending, of the format; int64 [slots]."""

    indices: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, latencies_ms: NDArray[np.float64]) -> Histogram:
        """Count latencies in milliseconds."""
        values = np.clip(np.rint(latencies_ms * NS_PER_MS), 0, HIGHEST_NS).astype(np.int64)
        indices, counts = np.unique(_slots(values), return_counts=True)
        return cls(indices, counts.astype(np.int64))

    @classmethod
    def together(cls, parts: Iterable[Histogram]) -> Histogram:
        """The latencies of all parts."""
        found = list(parts)
        indices = np.concatenate([np.empty(0, np.int64), *(one.indices for one in found)])
        counts = np.concatenate([np.empty(0, np.int64), *(one.counts for one in found)])
        slots, places = np.unique(indices, return_inverse=True)
        # Counts are whole, and below 2 ** 53: as floats they stay exact.
        return cls(slots, np.bincount(places, counts, len(slots)).astype(np.int64))

    @property
    def count(self) -> int:
        """How many latencies."""
        return int(self.counts.sum())

    @property
    def values_ms(self) -> NDArray[np.float64]:
        """The middle of each slot, ascending; float64 [slots]."""
        lowest, widths = _values(self.indices)
        return (lowest + (widths - 1) / 2) / NS_PER_MS

    def percentile_ms(self, percent: float) -> float:
        """The latency of nearest rank, above 0 up to 100; there is at least one."""
        rank = nearest_rank(percent, self.count)
        return float(self.values_ms[np.searchsorted(np.cumsum(self.counts), rank)])

    def encode(self) -> str:
        """As text."""
        payload = b"".join(map(_zig_zag, _runs(self.indices.tolist(), self.counts.tolist())))
        head = HEADER.pack(ENCODED, len(payload), 0, SIGNIFICANT_DIGITS, 1, HIGHEST_NS, 1.0)
        compressed = zlib.compress(head + payload)
        wrapped = WRAPPER.pack(COMPRESSED, len(compressed)) + compressed
        return base64.b64encode(wrapped).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Read what `encode` wrote. Raises ValueError for anything else."""
        try:
            wrapped = base64.b64decode(text, validate=True)
            mark, length = WRAPPER.unpack_from(wrapped)
            compressed = wrapped[WRAPPER.size :]
            plain = zlib.decompressobj().decompress(compressed, MAX_BYTES)
            head = HEADER.unpack_from(plain)
        except (binascii.Error, struct.error, zlib.error) as error:
            raise ValueError(f"not an HDR histogram: {error}") from None
        if (mark, length) != (COMPRESSED, len(compressed)) or head[0] != ENCODED:
            raise ValueError("not an HDR histogram of version 2")
        if head[3] != SIGNIFICANT_DIGITS or head[4] != 1:
            raise ValueError("an HDR histogram of another precision")
        return cls(*_counted(plain[HEADER.size : HEADER.size + head[1]]))


def _slots(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The slot of each value: from 2048 on, each doubling has 1024 of equal width."""
    # frexp's exponent is the number of bits; values are below 2 ** 53, so that it is exact.
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    buckets = np.maximum(bits - SUB_BUCKETS_LOG2, 0)
    return (buckets << HALF_LOG2) + (values >> buckets)


def _values(slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lowest value of each slot, and how many values it has."""
    buckets = np.maximum((slots >> HALF_LOG2) - 1, 0)
    return (slots - (buckets << HALF_LOG2)) << buckets, np.int64(1) << buckets


def _runs(indices: list[int], counts: list[int]) -> Iterator[int]:
    """Counts from slot 0 on; zeros that follow one another are one negative number."""
    expected = 0
    for index, count in zip(indices, counts, strict=True):
        zeros = index - expected
        if zeros:
            yield 0 if zeros == 1 else -zeros
        yield count
        expected = index + 1


def _zig_zag(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the sign in the first bit; the ninth byte has eight."""
    rest = (number << 1) ^ (number >> 63)
    written = bytearray()
    while rest > 0x7F and len(written) < 8:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def _counted(payload: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    slot, indices, counts = 0, [], []
    for number in _numbers(payload):
        if number > 0:
            indices.append(slot)
            counts.append(number)
        slot += max(-number, 1)
    return np.array(indices, np.int64), np.array(counts, np.int64)


def _numbers(payload: bytes) -> Iterator[int]:
    rest, shift = 0, 0
    for byte in payload:
        last = shift == 56
        rest |= (byte if last else byte & 0x7F) << shift
        if last or byte < 0x80:
            yield (rest >> 1) ^ -(rest & 1)
            rest, shift = 0, 0
        else:
            shift += 7
