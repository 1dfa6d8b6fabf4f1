"""What may have killed the predecessor is tried alone, before anything else is run.

The rows of which a run had begun and not ended when an engine died are suspects. Its successor
runs each of them by itself; one that kills it too is the culprit, and its own successor goes on
with the others. So no row is tried twice, and none together with another one. Workers learn what
became of their rows from the slots when the engine is ready.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from inferctl.arena.ledger import TRYING, Block
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.execution import PATIENCE_ALONE, verdict_of
from inferctl.engine.lane import Row
from inferctl.engine.model import Model
from inferctl.engine.session import DeviceLost, RunFailed
from inferctl.engine.watchdog import Stint


class Trial:
    """`was_overdue`: the supervisor killed the predecessor because a run of it did not end."""

    def __init__(self, block: Block, was_overdue: bool) -> None:
        self._says_trying = block.state(TRYING)
        self._verdict_of_killers = Verdict.TIMED_OUT if was_overdue else Verdict.CRASHED
        # Suspects that were not tried, because nobody waits for them.
        self.untried = 0

    def hold(self, model: Model, arena: ModelArena, stint: Stint) -> None:
        """Try the suspects of one model, the most urgent first. Raises DeviceLost, which is to end
        this process too."""
        suspects = np.flatnonzero(arena.started_s > arena.finished_s)
        if not len(suspects):
            return
        self._says_trying.set(1.0)
        stint.patience = PATIENCE_ALONE
        for slot in _in_order(arena, suspects.tolist()):
            if arena.tried_s[slot] == arena.submitted_s[slot]:
                arena.verdict[slot] = self._verdict_of_killers
            elif arena.cancelled[slot] or arena.deadline_s[slot] <= time.monotonic():
                self.untried += 1
            else:
                self._try(model, arena, slot, stint)
            arena.finished_s[slot] = time.monotonic()
        stint.patience = 1.0
        self._says_trying.set(0.0)

    def _try(self, model: Model, arena: ModelArena, slot: int, stint: Stint) -> None:
        arena.verdict[slot] = Verdict.CRASHED  # unless something else is said below
        arena.tried_s[slot] = arena.submitted_s[slot]
        now_s, tokens = time.monotonic(), int(arena.tokens[slot])
        stint.begin([Row(slot, now_s, float(arena.deadline_s[slot]), tokens)], now_s)
        try:
            model.run(arena, [slot], None, stint.options)
        except DeviceLost:
            raise  # it did it again
        except RunFailed as error:
            arena.verdict[slot] = verdict_of(error)
        else:
            arena.verdict[slot] = Verdict.DONE
        stint.begun_s = 0.0


def _in_order(arena: ModelArena, slots: Iterable[int]) -> list[int]:
    return sorted(slots, key=lambda slot: float(arena.deadline_s[slot]))
