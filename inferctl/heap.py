"""What a process asks of its C library's heap; on another library than glibc, nothing."""

from __future__ import annotations

import ctypes

# glibc's number for how many heaps threads may have, see malloc.h.
M_ARENA_MAX = -8

_libc = ctypes.CDLL(None)


def share_one() -> None:
    """Let the decoders' threads allocate where all do.

    glibc gives each thread a heap of its own, which keeps what it once held, or gives pages back
    and asks for them again with every image: a fifth of the time that decoding takes.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free pages to the system, those between used ones too: milliseconds, now and then."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
