"""What a process asks of its C library's heap; on another library than glibc, nothing."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# glibc's number for how many heaps threads may have, see malloc.h.
M_ARENA_MAX = -8
STATM = Path("/proc/self/statm")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Free pages are looked for when a process has so much more than they left the last time, or less.
SPARE = 0.1

_libc = ctypes.CDLL(None)
_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)
_new_bytearray.restype = ctypes.py_object


def untouched(size: int) -> bytearray:
    """So many bytes that take memory as they are written; before that they say nothing.

    `bytearray(size)` writes zeros to all of it.
    """
    made: bytearray = _new_bytearray(None, size)
    return made


def share(heaps: int = 1) -> None:
    """Let threads allocate from so many heaps; before they are started.

    glibc gives each thread a heap of its own, which keeps what it once held, or gives pages back
    and asks for them again with every image: a fifth of the time that decoding takes. And of those
    heaps the end is not given back, however free it is.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(M_ARENA_MAX, heaps)


def give_back() -> None:
    """Return free pages to the system, those between used ones too: milliseconds, now and then."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class LowWater:
    """Gives back what a peak took and nothing needs any more: the heaps of threads keep it.

    Nobody need say that there was a peak: the process has grown. Nor that it is over: the process
    has shrunk, but not to the least that it can.
    """

    def __init__(self) -> None:
        self._left_bytes = 0

    def look(self) -> None:
        """Look, now and then: microseconds, and milliseconds after a change."""
        if abs(own_bytes() - self._left_bytes) > SPARE * self._left_bytes:
            give_back()
            self._left_bytes = own_bytes()


def own_bytes() -> int:
    """Resident memory that is no file's and not shared; 0 where the system does not tell."""
    try:
        _, resident, shared, *_ = STATM.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE_BYTES
