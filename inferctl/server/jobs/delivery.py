"""Ids of jobs that Celery brings, of which the pump makes jobs that are done here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferctl.arena.cells import Cell
from inferctl.deferral import JobsSettings
from inferctl.server.jobs.pump import Pump

if TYPE_CHECKING:
    from inferctl.jobs.celery.consumer import Consumer

LOOK_EVERY_S = 0.1
# A thread of Celery's waits for each.
MOST_AT_ONCE = 64
# How long a worker that ends waits for them.
END_S = 3.0


class Delivery:
    """One worker's. `refused` counts messages that are none of ours."""

    def __init__(self, settings: JobsSettings, pump: Pump, refused: Cell) -> None:
        self._url, self._pump, self._refused = settings.redis_url, pump, refused
        self._consumer: Consumer | None = None
        self._is_ending = False

    async def run(self) -> None:
        """Take ids from when something can be done with them, as many at once as can be."""
        while not (slots := self._pump.window()):
            if self._is_ending:
                return
            await asyncio.sleep(LOOK_EVERY_S)
        consumer = await asyncio.to_thread(self._made, min(slots, MOST_AT_ONCE))
        if not self._is_ending:
            self._consumer = consumer
            consumer.start()

    def stop(self) -> None:
        """Take no more."""
        self._is_ending = True
        if self._consumer is not None:
            self._consumer.stop()

    async def close(self) -> None:
        """Wait until those who wait for the pump have heard; what it holds by then comes again."""
        if self._consumer is not None:
            await asyncio.to_thread(self._consumer.join, END_S)

    def _made(self, slots: int) -> Consumer:
        # In a worker alone: what it starts with must not be there when others are forked.
        from inferctl.jobs.celery.consumer import Consumer  # noqa: PLC0415

        return Consumer(self._url, self._pump.offer, slots, self._refused.add)
