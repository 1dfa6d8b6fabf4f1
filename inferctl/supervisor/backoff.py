"""When a process that died is started again, and when it is not."""

from __future__ import annotations

import random
from collections import deque

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
JITTER = 0.2
MAX_DEATHS = 5
WINDOW_S = 60.0


class Backoff:
    """0.1 s, 0.2 s, … 10 s, each ±20 %, counted over the deaths of the last minute."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._deaths_s: deque[float] = deque()

    def next_delay_s(self, now_s: float) -> float | None:
        """Note a death; seconds until the next start, or None after five deaths in a minute."""
        while self._deaths_s and self._deaths_s[0] <= now_s - WINDOW_S:
            self._deaths_s.popleft()
        self._deaths_s.append(now_s)
        if len(self._deaths_s) > MAX_DEATHS:
            return None
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (len(self._deaths_s) - 1))
        return delay_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
