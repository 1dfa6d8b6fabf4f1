"""That the event loop goes round, and how late it does; the supervisor looks, see `LoopWatch`."""

from __future__ import annotations

import asyncio
import time

from inferctl.arena.ledger import BEAT_S, Block

BEAT_EVERY_S = 0.1


class Pulse:
    """One worker's. A beat is two writes to memory, ten times a second."""

    def __init__(self, block: Block) -> None:
        self._beat_s = block.state(BEAT_S)
        self._lag_seconds = block.histogram("inferctl_loop_lag_seconds", 0)
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Beat at once, and from now on whenever the loop that runs comes round."""
        now_s = time.monotonic()
        self._beat_s.set(now_s)
        self._next = asyncio.get_running_loop().call_later(
            BEAT_EVERY_S, self._beat, now_s + BEAT_EVERY_S
        )

    def _beat(self, due_s: float) -> None:
        self._lag_seconds.observe(max(0.0, time.monotonic() - due_s))
        self.begin()

    def end(self) -> None:
        """There are no more beats; nobody must miss them."""
        if self._next is not None:
            self._next.cancel()
        self._beat_s.set(0.0)
