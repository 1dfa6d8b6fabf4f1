"""That the event loop goes round, and how late it does; the supervisor looks, see `LoopWatch`."""

from __future__ import annotations

import time

from inferctl.arena.ledger import BEAT_S, Block

# uvicorn's own tick.
TICK_S = 0.1


class Pulse:
    """One worker's. A beat is two writes to memory, ten times a second."""

    def __init__(self, block: Block) -> None:
        self._beat_s = block.state(BEAT_S)
        self._lag_seconds = block.histogram("inferctl_loop_lag_seconds", 0)
        self._due_s = 0.0

    def beat(self) -> None:
        """The loop came round."""
        now_s = time.monotonic()
        if self._due_s:
            self._lag_seconds.observe(max(0.0, now_s - self._due_s))
        self._due_s = now_s + TICK_S
        self._beat_s.set(now_s)

    def end(self) -> None:
        """There are no more beats; nobody must miss them."""
        self._beat_s.set(0.0)
