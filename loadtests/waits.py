"""Waiting in the system for connections, to the microsecond where a clock wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# An epoll sleeps whole milliseconds; shorter waits, and the ends of longer ones, are a select's.
COARSE_S, MARGIN_S = 0.003, 0.001


class Waits:
    """`epoll` is one, and `select` the function; not gevent's."""

    def __init__(self, epoll: Any, select: Callable[..., Any]) -> None:
        self.epoll, self._select = epoll, select

    def poll(self, wait_s: float, *, exactly: bool) -> list[tuple[int, int]]:
        """The file descriptors of which there is something, and what: after `wait_s` at most."""
        if exactly:  # else nobody minds a millisecond
            if wait_s > COARSE_S:
                wait_s -= MARGIN_S
            elif wait_s > 0:
                self._select([self.epoll], (), (), wait_s)
                wait_s = 0.0
        found: list[tuple[int, int]] = self.epoll.poll(max(wait_s, 0.0))
        return found

    def close(self) -> None:
        """Wait no more."""
        self.epoll.close()
