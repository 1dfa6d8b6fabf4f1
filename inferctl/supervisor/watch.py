"""Kills an engine that hangs, and not one that gets no core."""

from __future__ import annotations

import asyncio
import time

import structlog

from inferctl.arena.ledger import LOOKED_S, OVERDUE_S, Block
from inferctl.progress import cpu_seconds, wants_cpu
from inferctl.supervisor.child import Child

log = structlog.get_logger()

LOOK_S = 0.05
# What passes between two looks counts up to this: the engine may have been stopped with us.
LONGEST_LOOK_S = 0.25
# A run that was told to end has so long for it.
GRACE_S = 0.25
# An engine that serves looks at its runs many times a second: one that did not for so long hangs.
STALL_S = 2.0
# Whose CPU is less than this share of the time, and who wants more, is starved and does not hang.
STARVED = 0.5


class Watch:
    """One engine, and its successors. `has_killed` is whether it ended the one that died last."""

    def __init__(self, engine: Child, block: Block) -> None:
        self._engine = engine
        self._overdue, self._looked = block.state(OVERDUE_S), block.state(LOOKED_S)
        self._is_ready = block.cell("inferctl_engine_ready")
        self._last_look_s = time.monotonic()
        self._seen_s = self._stalled_s = self._cpu_s = 0.0
        self._killed_pid = -1

    @property
    def has_killed(self) -> bool:
        """Whether the engine that was started last was killed from here."""
        return self._killed_pid == self._engine.pid

    async def keep(self) -> None:
        """Watch, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if (why := self.look(time.monotonic())) and not self.has_killed:
                self._killed_pid = self._engine.pid
                log.warning("hangs: it is killed", process="engine", pid=self._engine.pid, why=why)
                self._engine.kill()

    def look(self, now_s: float) -> str:
        """Why it is to be killed; nothing if it is not."""
        passed_s = min(now_s - self._last_look_s, LONGEST_LOOK_S)
        self._last_look_s = now_s
        overdue_s = self._overdue.get()
        if overdue_s > self._engine.born_s and now_s - overdue_s >= GRACE_S:
            return "a run took too long, and did not end when it was told to"
        if self._is_stalled(passed_s):
            return "it stands still"
        return ""

    def _is_stalled(self, passed_s: float) -> bool:
        """Whether an engine that serves did nothing for too long, though it could have."""
        seen_s, pid = self._looked.get(), self._engine.pid
        if seen_s != self._seen_s or not self._is_ready.get():
            self._seen_s, self._stalled_s, self._cpu_s = seen_s, 0.0, cpu_seconds(pid)
            return False
        self._stalled_s += passed_s
        limit_s = STALL_S + GRACE_S
        return self._stalled_s >= limit_s and (
            not wants_cpu(pid) or cpu_seconds(pid) - self._cpu_s >= STARVED * limit_s
        )
