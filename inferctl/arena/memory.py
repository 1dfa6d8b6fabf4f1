"""Anonymous shared memory, passed to children by file descriptor."""

from __future__ import annotations

import mmap
import os
import tempfile

from inferctl.errors import StartError


def create_memory(name: str, size: int) -> int:
    """A file descriptor of `size` zero bytes that children may inherit.

    Pages cost nothing until they are touched. `name` shows in /proc/<pid>/maps. Raises StartError
    when the system has no room for it.
    """
    try:
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create(f"inferctl-{name}")
        else:
            # Not Linux: an unlinked file behaves the same.
            with tempfile.TemporaryFile(prefix=f"inferctl-{name}-") as file:
                fd = os.dup(file.fileno())
    except OSError as error:
        raise _no_memory(name, size, error) from None
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        os.close(fd)
        raise _no_memory(name, size, error) from None
    return fd


def _no_memory(name: str, size: int, error: OSError) -> StartError:
    return StartError(
        f"no shared memory for {name} ({size} bytes): {error.strerror}",
        hint="lower limits.max_queue_rows",
    )


def map_memory(fd: int) -> mmap.mmap:
    """Map the whole of an inherited descriptor, readable and writable.

    Raises StartError when the process may not have so much.
    """
    size = os.fstat(fd).st_size
    try:
        return mmap.mmap(fd, size)
    except OSError as error:
        raise StartError(
            f"cannot map {size} bytes of shared memory: {error.strerror}",
            where="RLIMIT_AS",
            hint="ulimit -v unlimited, or lower limits.max_queue_rows",
        ) from None


def adopt_memory(fd: int) -> mmap.mmap:
    """Map a descriptor that is this process' own, and close it: the mapping needs it no more."""
    memory = map_memory(fd)
    os.close(fd)
    return memory
