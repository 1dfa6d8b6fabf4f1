"""Kills an engine that hangs, and not one that gets no core."""

from __future__ import annotations

import asyncio
import time

import structlog

from inferctl.arena.ledger import LOOKED_S, OVERDUE_S, Block
from inferctl.progress import Allowance, cpu_seconds, wants_cpu
from inferctl.supervisor.child import Child

log = structlog.get_logger()

LOOK_S = 0.05
# A run that was told to end has so long for it.
GRACE_S = 0.25
# An engine that serves looks at its runs many times a second: one that did not for so long hangs.
STALL_S = 2.0


class Watch:
    """One engine, and its successors. `has_killed` is whether it ended the one that died last."""

    def __init__(self, engine: Child, block: Block) -> None:
        self._engine = engine
        self._overdue, self._looked = block.state(OVERDUE_S), block.state(LOOKED_S)
        self._is_ready = block.cell("inferctl_engine_ready")
        # What the ledger said at the last look, and what the engine has had since that changed.
        self._overdue_s = self._looked_s = 0.0
        self._grace, self._stall = Allowance(), Allowance()
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
        cpu_s = cpu_seconds(self._engine.pid)
        if self._is_overdue(now_s, cpu_s):
            return "a run took too long, and did not end when it was told to"
        if self._is_stalled(now_s, cpu_s):
            return "it stands still"
        return ""

    def _is_overdue(self, now_s: float, cpu_s: float) -> bool:
        """Whether a run goes on that was told to end, though it could have ended."""
        overdue_s = self._overdue.get()
        if overdue_s != self._overdue_s:
            self._overdue_s = overdue_s
            self._grace.begin(overdue_s, now_s, cpu_s)
        is_its_own = overdue_s > self._engine.born_s
        return is_its_own and self._grace.is_over(GRACE_S, now_s, cpu_s, self._wants_cpu)

    def _is_stalled(self, now_s: float, cpu_s: float) -> bool:
        """Whether an engine that serves did nothing for too long, though it could have."""
        looked_s = self._looked.get()
        if looked_s != self._looked_s or not self._is_ready.get():
            self._looked_s = looked_s
            self._stall.begin(now_s, now_s, cpu_s)
        return self._stall.is_over(STALL_S + GRACE_S, now_s, cpu_s, self._wants_cpu)

    def _wants_cpu(self) -> bool:
        return wants_cpu(self._engine.pid)
