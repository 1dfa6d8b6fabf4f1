"""The trace that a request is part of: W3C Trace Context, https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import re
from typing import NamedTuple

# A later version may have more behind the flags.
TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
SAMPLED = 0x01
# Larger than any that begins with a hex digit.
ALL = b"g"


class Trace(NamedTuple):
    """`trace_id` (32) and `parent_id` (16) in lower-case hex; `sampled`: the caller keeps it."""

    trace_id: bytes
    parent_id: bytes
    sampled: bool


def trace_of(traceparent: bytes) -> Trace | None:
    """What the header says; None for one that the standard has us ignore."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or (traceparent.startswith(b"00") and found[4]):
        return None
    return Trace(found[1], found[2], bool(int(found[3], 16) & SAMPLED))


def least_left_out(rate: float) -> bytes:
    """Of the lower halves of ids (16 hex digits) the first that is not kept at this rate.

    OpenTelemetry draws the line there too: whoever samples at the same rate keeps the same ones.
    """
    return b"%016x" % round(rate * 2**64) if rate < 1 else ALL
