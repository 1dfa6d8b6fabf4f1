"""The semaphore around a model's work: so many requests at once between decode and answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Gate:
    """Places for requests in work. Lives on the event loop's thread.

    An `asyncio.Semaphore` wakes tasks; a predict request is none. Who waits is let in first come.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, let_in: Callable[[], None]) -> bool:
        """Whether there is a place now; if not, `let_in` is called when there is.

        Whoever is in must `leave`.
        """
        if self._free:
            self._free -= 1
            return True
        self._waiting.append(let_in)
        return False

    def leave(self) -> None:
        """Give the place to the next one."""
        if self._waiting:
            # From the loop: a thousand waiting requests that fail at once must not nest.
            asyncio.get_running_loop().call_soon(self._waiting.popleft())
        else:
            self._free += 1
