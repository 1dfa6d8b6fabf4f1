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
    """Calls `expire` with every item that was begun `after_s` seconds ago and not ended since.

    `begin(item, now_s)` lets its time run from `now_s` on, on the monotonic clock;
    `end(item, None)` says that it came in time, or was never begun. What begins anew must end
    first: it would keep its place, and others behind it would wait for it. While the timer is set
    both are methods of the dict: a frame around them would cost more than they do, twice a request.
    """

    def __init__(self, after_s: float, expire: Callable[[Item], None]) -> None:
        self.after_s = after_s
        self._expire = expire
        # From the oldest to the youngest.
        self._begun_s: dict[Item, float] = {}
        self.begin: Callable[[Item, float], None] = self._begin_first
        self.end: Callable[[Item, None], object] = self._begun_s.pop

    def __contains__(self, item: Item) -> bool:
        return item in self._begun_s

    def oldest(self) -> tuple[Item, float] | None:
        """The item that was begun first, and when; None when there is none."""
        return next(iter(self._begun_s.items()), None)

    def _begin_first(self, item: Item, now_s: float) -> None:
        self._begun_s[item] = now_s
        self._set_timer()

    def _set_timer(self) -> None:
        self.begin = self._begun_s.__setitem__
        wait_s = next(iter(self._begun_s.values())) + self.after_s - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, wait_s), self._ring)

    def _ring(self) -> None:
        late_s = time.monotonic() - self.after_s
        late = []
        for item, begun_s in self._begun_s.items():
            if begun_s > late_s:
                break
            late.append(item)
        try:
            for item in late:
                self.end(item, None)
                self._expire(item)
        finally:  # a bug in one must not keep all others for ever
            if self._begun_s:
                self._set_timer()
            else:
                self.begin = self._begin_first
