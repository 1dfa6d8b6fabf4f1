"""One timeout for many: requests that must be answered, connections that may be idle.

A timer per request costs the event loop more than the request's steps. All that share a timeout
end in the order they began, so one timer, for the oldest, is enough.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Timeouts(Generic[Item]):
    """Calls `expire` with every item that was begun `after_s` seconds ago and not ended since."""

    def __init__(self, after_s: float, expire: Callable[[Item], None]) -> None:
        self.after_s = after_s
        self._expire = expire
        # From the oldest to the youngest; when each runs out.
        self._ends_s: dict[Item, float] = {}
        self._armed = False

    def begin(self, item: Item, now_s: float) -> None:
        """The item's time runs from `now_s` on, on the monotonic clock."""
        self._ends_s[item] = now_s + self.after_s
        if not self._armed:
            self._arm()

    def end(self, item: Item) -> None:
        """The item came in time, or was never begun."""
        self._ends_s.pop(item, None)

    def _arm(self) -> None:
        self._armed = True
        wait_s = next(iter(self._ends_s.values())) - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, wait_s), self._ring)

    def _ring(self) -> None:
        self._armed = False
        now_s = time.monotonic()
        late = []
        for item, end_s in self._ends_s.items():
            if end_s > now_s:
                break
            late.append(item)
        for item in late:
            self.end(item)
            self._expire(item)
        if self._ends_s and not self._armed:
            self._arm()
