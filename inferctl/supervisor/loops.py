"""Whether the workers' event loops go round: one that does not answers nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from inferctl.arena.ledger import BEAT_S, Block, Ledger
from inferctl.supervisor.child import Child

log = structlog.get_logger()

LOOK_EVERY_S = 0.5
# A loop that was away for so long has a bug: nothing that it does takes a tenth of it.
STALL_S = 2.0
# It will not come back.
LOST_S = 30.0


class LoopWatch:
    """Says once of each stall what the worker is at, and ends one that does not end by itself.

    Only the worker's kernel thread is needed for that: a loop that is blocked may hold the lock
    that every thread of its process waits for.
    """

    def __init__(self, workers: Sequence[Child], ledger: Ledger) -> None:
        self._watched = tuple(zip(workers, ledger.blocks[Ledger.FIRST_WORKER :], strict=True))
        self._stalls = ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_loop_stalls_total")
        # Those that are in a stall that was told of.
        self._told: set[Child] = set()
        self._looked_s = 0.0
        self._killed_pids: dict[Child, int] = {}

    def has_killed(self, worker: Child) -> bool:
        """Whether the one that was started last was killed from here."""
        return self._killed_pids.get(worker) == worker.pid

    async def keep(self) -> None:
        """Watch, until it is cancelled."""
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self, now_s: float) -> None:
        """Look at each once, at this moment of the monotonic clock."""
        was_away = now_s - self._looked_s > STALL_S
        self._looked_s = now_s
        if was_away:  # so were the workers, perhaps: the whole machine was stopped
            return
        for worker, block in self._watched:
            self._look_at(worker, block, now_s)

    def _look_at(self, worker: Child, block: Block, now_s: float) -> None:
        beat_s = block.state(BEAT_S).get()
        stalled_s = now_s - beat_s if beat_s else 0.0
        if stalled_s < STALL_S:
            self._told.discard(worker)
        elif worker not in self._told:
            self._told.add(worker)
            self._stalls.add()
            log.warning("its event loop is blocked, at this:", process="worker", pid=worker.pid)
            worker.tell_stacks()
        elif stalled_s > LOST_S and not self.has_killed(worker):
            self._killed_pids[worker] = worker.pid
            log.error("its event loop is lost: it is ended", process="worker", pid=worker.pid)
            worker.kill()
