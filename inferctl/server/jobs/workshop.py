"""A worker's side of jobs: the desk where they are asked for, and the pump that does them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from functools import partial

import structlog

from inferctl.arena.ledger import Ledger
from inferctl.arena.spec import WorkerSpec
from inferctl.jobs.owners import this_process
from inferctl.jobs.store import StoreUnavailable
from inferctl.jobs.stores import open_store
from inferctl.server.catalogue import Catalogue
from inferctl.server.health import State
from inferctl.server.jobs.delivery import Delivery
from inferctl.server.jobs.desk import Desk
from inferctl.server.jobs.parts import JobsParts
from inferctl.server.jobs.pump import Pump
from inferctl.server.predict import Predict

log = structlog.get_logger()


class Workshop:
    """One worker's. It has no `pump` where jobs are only taken in, for others to do."""

    def __init__(
        self, spec: WorkerSpec, ledger: Ledger, catalogue: Catalogue, state: State, predict: Predict
    ) -> None:
        block = ledger.blocks[spec.process]
        errors = block.cell("inferctl_job_store_errors_total")
        self._desk = desk = Desk(partial(open_store, spec.jobs), errors)
        self._drain_s = spec.server.drain_timeout_s
        self.pump: Pump | None = None
        if spec.jobs.run:
            self.pump = Pump(spec, ledger, catalogue, state, predict, desk, this_process())
        self._delivery: Delivery | None = None
        if self.pump is not None and spec.jobs.backend == "celery":
            refused = block.cell("inferctl_job_messages_refused_total")
            self._delivery = Delivery(spec.jobs, self.pump, refused)
        self._delivering: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self.parts = JobsParts(desk, spec.jobs, self._wake)

    def open(self) -> None:
        """Do jobs from now on."""
        self._opening = asyncio.create_task(self._open_store())
        self._opening.add_done_callback(_tell_of_bug)
        if self.pump is not None:
            self._pumping = asyncio.create_task(self.pump.run())
            self._pumping.add_done_callback(_tell_of_bug)
        if self._delivery is not None:
            self._delivering = asyncio.create_task(self._delivery.run())
            self._delivering.add_done_callback(_tell_of_bug)

    async def _open_store(self) -> None:
        """Now, while there is room for a thread: later a service that is full may have none."""
        with contextlib.suppress(StoreUnavailable):  # it is opened when it is needed
            await self._desk.do(lambda _: None)

    def drain(self) -> None:
        """Begin nothing more; what is under way has the time that requests have."""
        if self._delivery is not None:
            self._delivery.stop()
        if self.pump is not None:
            self.pump.drain(self._drain_s)

    async def close(self) -> None:
        """Wait for what is under way, and let go of the store."""
        if self._opening is not None:
            await asyncio.wait({self._opening})
        if self._pumping is not None:
            await asyncio.wait({self._pumping})
        if self._delivery is not None and self._delivering is not None:
            await asyncio.wait({self._delivering})
            await self._delivery.close()
        await asyncio.to_thread(self._desk.close)

    def _wake(self) -> None:
        if self.pump is not None:
            self.pump.wake()


def _tell_of_bug(task: asyncio.Task[None]) -> None:
    """Requests are answered as before; others have its jobs once their leases end."""
    if not task.cancelled() and (error := task.exception()):
        traceback.print_exception(error, file=sys.stderr)
        log.error("a bug ended what does jobs in this worker", pid=os.getpid())


def make_workshop(
    spec: WorkerSpec, ledger: Ledger, catalogue: Catalogue, state: State, predict: Predict
) -> Workshop | None:
    """A worker's; none where jobs are off."""
    if spec.jobs.backend == "off":
        return None
    return Workshop(spec, ledger, catalogue, state, predict)
