"""What the event loop leaves to a thread: it gathers, and nobody on the loop waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

# What a worker leaves has so long at its end, all in all: the supervisor's grace is longer.
CLOSE_TIMEOUT_S = 1.5


class Backlog(Generic[Item]):
    """A thread that takes from `items` what gathers there.

    Once there is something more may come for `gather_s`, unless somebody hurries it; then `work`
    is called, in the thread, to take all that waits.
    """

    def __init__(self, name: str, gather_s: float, work: Callable[[], None]) -> None:
        self.items: deque[Item] = deque()
        self._gather_s, self._work = gather_s, work
        self._waiting = threading.Event()
        self._hurried = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, item: Item) -> None:
        """Leave it to the thread."""
        self.items.append(item)
        if not self._waiting.is_set():
            self._waiting.set()

    def wake(self) -> None:
        """There is something to do, though nothing waits."""
        self._waiting.set()

    def hurry(self) -> None:
        """Enough waits."""
        if not self._hurried.is_set():
            self._hurried.set()

    def close(self, timeout_s: float) -> None:
        """Let it work off what waits, and end. A thread that is stuck is left behind."""
        self._is_closing = True
        self._hurried.set()
        self._waiting.set()
        self._thread.join(max(0, timeout_s))

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._waiting.wait()
            self._hurried.wait(self._gather_s)
            self._waiting.clear()
            self._hurried.clear()
            # Whoever closes it from here on wakes it again, and what came before is seen below.
            is_last = self._is_closing
            self._work()
