"""When a process that died is started again, and when it is not."""

from __future__ import annotations

import random
from collections import deque

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
JITTER = 0.2
MAX_DEATHS = 5
WINDOW_S = 60.0
# Whoever was ready for so long and died then does not keep dying.
STEADY_S = 3.0


class Backoff:
    """0.1 s, 0.2 s, … 10 s, each ±20 %, counted over the deaths of the last minute."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._deaths_s: deque[float] = deque()
        self._ready_s: float | None = None
        self._is_last_forgiven = True

    def is_ready(self, now_s: float) -> None:
        """It has started."""
        self._ready_s = now_s

    def next_delay_s(self, now_s: float) -> float | None:
        """Note a death; seconds until the next start, or None after five deaths in a minute."""
        if self._ready_s is not None and now_s - self._ready_s >= STEADY_S:
            self._deaths_s.clear()
        self._ready_s = None
        while self._deaths_s and self._deaths_s[0] <= now_s - WINDOW_S:
            self._deaths_s.popleft()
        self._deaths_s.append(now_s)
        self._is_last_forgiven = False
        if len(self._deaths_s) > MAX_DEATHS:
            return None
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** (len(self._deaths_s) - 1))
        return self._spread(delay_s)

    def forgive(self) -> float:
        """The last death was a client's doing; seconds until the next start, if it is dead again.

        Otherwise who sends five rows that kill an engine would end the service.
        """
        if not self._is_last_forgiven:
            self._deaths_s.pop()
            self._is_last_forgiven = True
        return self._spread(FIRST_DELAY_S)

    def _spread(self, delay_s: float) -> float:
        return delay_s * self._rng.uniform(1 - JITTER, 1 + JITTER)
