"""When not to ask Redis, since it did not answer."""

from __future__ import annotations

import time

from inferctl.jobs.store import StoreUnavailable

# So many failures in a row, and nobody asks for a while.
FAILURES = 3
OPEN_S = 2.0
# Before that, those who waited behind one that failed hear the same at once: they would wait for as
# long each.
AFTER_ONE_S = 0.25


class Breaker:
    """Opens as failures come, and lets one try at a time when its time is over."""

    def __init__(self) -> None:
        self._failures = 0
        self._opens_until_s = 0.0
        self._why = ""

    def check(self) -> None:
        """Raises StoreUnavailable while nobody is to ask."""
        left_s = self._opens_until_s - time.monotonic()
        if left_s > 0:
            raise StoreUnavailable(self._why, retry_after_s=max(1.0, left_s))

    def failed(self, why: str) -> StoreUnavailable:
        """Count it; what the one who asked is told."""
        self._failures += 1
        pause_s = OPEN_S if self._failures >= FAILURES else AFTER_ONE_S
        self._opens_until_s = time.monotonic() + pause_s
        self._why = why
        return StoreUnavailable(why, retry_after_s=max(1.0, pause_s))

    def succeeded(self) -> None:
        """It answers."""
        self._failures = 0
