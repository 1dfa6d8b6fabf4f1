"""All connections of a worker: how many there may be, and how long each may wait for what."""

from __future__ import annotations

import asyncio
import math
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from inferctl.arena.ledger import Ledger
from inferctl.arena.metric import CLOSE_REASONS
from inferctl.server.timeouts import Timeouts
from inferctl.settings import ServerSettings

if TYPE_CHECKING:
    from inferctl.server.closing import Closing

# Descriptors that are no connections: files, memory, the way to the engine.
OTHER_DESCRIPTORS = 64
# From so large a share of the limit on, connections that are idle make room.
CROWDED = 0.8
# Unless there is no room at all, one that was just answered may ask again first.
MIN_IDLE_S = 1.0
# What a client still sends after its last answer is read for so long, for it to see that answer.
LINGER_S = 2.0
# That connections were turned away is said no more often, by all workers together.
REPORT_EVERY_S = 1.0


class Connections:
    """Counts them in the ledger, where every worker's are. Lives on the event loop's thread.

    `report` is told how many were turned away, once in a while.
    """

    def __init__(
        self, server: ServerSettings, ledger: Ledger, process: int, report: Callable[[int], object]
    ) -> None:
        self.limits = server
        block = ledger.blocks[process]
        self._open = block.cell("inferctl_connections")
        self._all_open = [b.cell("inferctl_connections") for b in ledger.blocks]
        self._closed = {
            reason: block.cell("inferctl_connections_closed_total", value=reason)
            for reason in CLOSE_REASONS
        }
        self._max_own = max(1, soft_descriptor_limit() - OTHER_DESCRIPTORS)
        self._report = report
        self._report_every_s = REPORT_EVERY_S * (len(ledger.blocks) - Ledger.FIRST_WORKER)
        self._turned_away = 0
        self.first_byte: Timeouts[Closing] = Timeouts(
            server.first_byte_timeout_s, lambda connection: connection.leave("first_byte")
        )
        self.heads: Timeouts[Closing] = Timeouts(
            server.header_timeout_s, lambda connection: connection.head_is_late()
        )
        self.bodies: Timeouts[Closing] = Timeouts(
            server.body_timeout_s, lambda connection: connection.body_is_late()
        )
        self.idle: Timeouts[Closing] = Timeouts(
            server.keep_alive_s, lambda connection: connection.leave("idle")
        )
        self.unsent: Timeouts[Closing] = Timeouts(
            server.write_timeout_s, lambda connection: connection.answer_is_stuck()
        )
        self.lingering: Timeouts[Closing] = Timeouts(
            LINGER_S, lambda connection: connection.leave("answered")
        )

    def admit(self, connection: Closing) -> bool:
        """Count a new one; whether there is room for it. Whoever waits longest makes some."""
        now_s = time.monotonic()
        self._open.add()
        own, total = self._open.get(), sum(cell.get() for cell in self._all_open)
        filled = max(own / self._max_own, total / self.limits.max_connections)
        if filled > CROWDED:
            is_full = filled > 1
            made_room = self._evict(now_s if is_full else now_s - MIN_IDLE_S, is_full)
            if is_full and not made_room:
                self._turn_away()
                return False
        self.first_byte.begin(connection, now_s)
        return True

    def _evict(self, before_s: float, is_full: bool) -> bool:
        """Close the one that waits longest, if it does since before; whether there was one.

        One whose first request is still to come need not go before there is no room.
        """
        waits = (self.idle, self.first_byte, self.heads) if is_full else (self.idle,)
        waiting = [oldest for timeouts in waits if (oldest := timeouts.oldest())]
        connection, begun_s = min(waiting, key=lambda one: one[1], default=(None, math.inf))
        if connection is None or begun_s > before_s:
            return False
        for timeouts in waits:
            timeouts.end(connection, None)
        connection.leave("evicted")
        if is_full:  # what is still on its way to it would keep its room
            connection.transport.abort()
        return True

    def _turn_away(self) -> None:
        if not self._turned_away:
            asyncio.get_running_loop().call_later(self._report_every_s, self._tell)
        self._turned_away += 1

    def _tell(self) -> None:
        turned_away, self._turned_away = self._turned_away, 0
        self._report(turned_away)

    def forget(self, connection: Closing, reason: str) -> None:
        """It is closed."""
        for timeouts in (
            self.first_byte, self.heads, self.bodies, self.idle, self.unsent, self.lingering,
        ):  # fmt: skip
            timeouts.end(connection, None)
        self._open.add(-1)
        self._closed[reason].add()


def soft_descriptor_limit() -> int:
    """How many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
