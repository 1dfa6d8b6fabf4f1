"""What bounds the request bodies that a worker holds before it can decode them.

A body that waits for the decoder is of no use in memory. While more than a limit of them wait, new
bodies are left with their senders: the connection is not read, the kernel's buffers fill, and the
client waits. The first bytes of a body come with its head and are never asked for. When such a
flood has passed, the memory that it took goes back to the system.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from inferctl import heap


class Intake:
    """Counts the bytes of bodies that wait to be decoded. Lives on the event loop's thread."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._flooded = False
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a body that comes now may be received at once."""
        return self._held_bytes < self._limit_bytes

    def hold(self, size: int) -> None:
        """A body of so many bytes is complete, and waits to be decoded."""
        self._held_bytes += size

    def wait(self, size: int, let_in: Callable[[], None]) -> None:
        """Call `let_in` when there is room for a body. It is held from then on: no more are let in
        than fit, however long they take to come."""
        self._flooded = True
        self._waiting.append((size, let_in))

    def release(self, size: int) -> None:
        """A held body was decoded, or its request is over."""
        self._held_bytes -= size
        if self._flooded and not self._held_bytes and not self._waiting:
            self._flooded = False
            heap.give_back()
        while self._waiting and self.is_open:
            size, let_in = self._waiting.popleft()
            self._held_bytes += size
            # From the loop: many that are over already must not nest.
            asyncio.get_running_loop().call_soon(let_in)
