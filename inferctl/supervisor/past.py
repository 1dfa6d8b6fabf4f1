"""What is known of the lives and deaths of one process: when it is started again, if it is."""

from __future__ import annotations

import random
import signal
import time

from inferctl.arena.ledger import DIED_OF, DIED_S, TRYING, Block
from inferctl.arena.metric import DEATH_REASONS
from inferctl.supervisor.backoff import Backoff


class Past:
    """Of a worker, whose block `own` is. `start_took_s` is how long the last successor took until
    it was ready; 0 while there was none: the first one measures more, and waits for others."""

    def __init__(self, own: Block) -> None:
        self._own = own
        self._backoff = Backoff(random.Random())
        self._born_s: float | None = None
        self.start_took_s = 0.0

    def is_born(self) -> None:
        """It is started again."""
        self._born_s = time.monotonic()

    def is_ready(self, untried: int = 0) -> None:
        """It says that it is ready; of an engine, how many suspects it did not try."""
        now_s = time.monotonic()
        if self._born_s is not None:
            self.start_took_s = now_s - self._born_s
        self._backoff.is_ready(now_s)

    def next_delay_s(self) -> float | None:
        """It died: seconds until it is started again; None when it keeps dying."""
        return self._backoff.next_delay_s(time.monotonic())

    def note(self, code: int, *, was_hanging: bool = False) -> str:
        """Keep when it died and of what, by its exit code, which is returned as the reason;
        `was_hanging` is whether the supervisor killed it."""
        reason = "exit" if code >= 0 else "killed" if code == -signal.SIGKILL else "crash"
        if was_hanging:
            reason = "timeout"
        self._own.state(DIED_OF).set(DEATH_REASONS.index(reason))
        self._own.state(DIED_S).set(time.monotonic())
        return reason


class EnginePast(Past):
    """Of an engine, of which a client's row may be the death."""

    def __init__(self, own: Block, supervisors: Block) -> None:
        super().__init__(own)
        self._trying, self._supervisors = own.state(TRYING), supervisors

    def is_ready(self, untried: int = 0) -> None:
        """Where not all suspects were tried, the culprit may be among the others."""
        super().is_ready()
        if untried:
            self._backoff.forgive()

    def next_delay_s(self) -> float | None:
        """A row that was tried alone when it died has killed it, and its predecessor: that is
        nothing that would not end."""
        if self._trying.get():
            self._trying.set(0.0)
            return self._backoff.forgive()
        return super().next_delay_s()

    def note(self, code: int, *, was_hanging: bool = False) -> str:
        """Count it too."""
        reason = super().note(code, was_hanging=was_hanging)
        self._supervisors.cell("inferctl_engine_restarts_total", value=reason).add()
        return reason
