"""How many files and connections a process may have open."""

from __future__ import annotations

import contextlib
import resource


def raise_limit() -> int:
    """Let this process and its children have as many open as they may; how many that is.

    The usual limit is there for programs with `select`, which takes no higher numbers.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems have a lower one besides
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
