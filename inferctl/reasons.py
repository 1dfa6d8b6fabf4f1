"""Why something of the system cannot be had, in our own words."""

from __future__ import annotations

import errno

from inferctl.errors import InferctlError, InsufficientMemory


def reason_of(error: InferctlError | OSError | MemoryError | RuntimeError) -> str:
    """The error in a line: a lack of memory is told the same wherever it showed.

    A thread that cannot be started is a RuntimeError.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return str(InsufficientMemory("an allocation failed"))
    return str(error)
