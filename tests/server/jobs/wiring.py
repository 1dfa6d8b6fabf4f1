"""A worker's pump on a real store, with a fake engine that says what becomes of each row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from inferctl.arena.ledger import JOBS_ARE_OURS, Ledger
from inferctl.arena.spec import Roster, WorkerSpec
from inferctl.bundles.manifest import Manifest
from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Job, NewJob, Owner, Submitted, new_job_id
from inferctl.jobs.owners import this_process
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import Store
from inferctl.observation import LogsSettings
from inferctl.server.jobs.desk import Desk
from inferctl.server.jobs.pump import Pump
from tests.server.loop import until
from tests.server.wiring import WORKER, Row, Worker, working

ROW = {"inputs": [1, 2, 3, 4]}
BROKEN = {"inputs": [1]}


@dataclass
class Site:
    """`store` is another connection to the worker's store, as another process has it."""

    worker: Worker
    pump: Pump
    store: SqliteStore
    settings: JobsSettings
    pumping: asyncio.Task[None]

    def submit(self, *items: dict[str, Any], model: str = "sums", **fields: Any) -> str:
        """The id of a job that is in the store; of several items it is bulk."""
        job = NewJob(
            id=new_job_id(), model=model, version="", key="", content_type="application/json",
            items=[orjson.dumps(item) for item in items], is_bulk=len(items) > 1, **fields,
        )  # fmt: skip
        (outcome,) = self.store.submit([job])
        assert isinstance(outcome, Submitted)
        self.pump.wake()
        return job.id

    def job(self, job_id: str) -> Job:
        return self.store.find(job_id, None)

    async def reaches(self, job_id: str, *states: str) -> Job:
        """Waits for a job to be in one of these states, or over."""
        return await self.becomes(job_id, lambda job: job.is_over or job.state in states)

    async def becomes(self, job_id: str, condition: Callable[[Job], object]) -> Job:
        """Waits for this to be so of a job."""
        await until(lambda: condition(self.job(job_id)))
        return self.job(job_id)

    async def rows(self, count: int) -> list[Row]:
        """The next rows that the engine gets."""
        return [await self.worker.engine.next() for _ in range(count)]

    def answer(self, rows: Sequence[Row]) -> None:
        """The engine has run these."""
        for row in rows:
            self.worker.engine.answer(row)

    def statuses(self, job_id: str) -> list[int]:
        """Of the results that there are."""
        return [result.status for result in self.store.results(job_id, None, 0, 1000)]

    def counted(self, name: str, place: int = 0, value: str = "") -> float:
        return self.worker.ledger.total(name, place, value)

    async def ends(self) -> None:
        """The pump has nothing more to do."""
        await asyncio.wait_for(asyncio.shield(self.pumping), 10)


def another() -> Owner:
    """A process that lives, and is not this one."""
    return replace(this_process(), node="elsewhere")


@asynccontextmanager
async def pumping(
    folder: Path,
    *manifests: Manifest,
    jobs: dict[str, Any] | None = None,
    ours: bool = True,
    index: int = 0,
    window: int = 2,
    open_store: Callable[[JobsSettings], Store] | None = None,
    before: Sequence[Callable[[SqliteStore], object]] = (),
    **options: Any,
) -> AsyncIterator[Site]:
    """A worker that does jobs; `before` is done with the store before it begins."""
    state = folder / "state"
    settings = JobsSettings(path=str(state), **(jobs or {}))
    prepare_store(state, strict=False)
    store = SqliteStore(state, settings)
    for step in before:
        step(store)
    async with working(folder, *manifests, **options) as worker:
        ledger = worker.ledger
        ledger.blocks[Ledger.SUPERVISOR].state(JOBS_ARE_OURS).set(ours)
        for model in worker.models:
            engine = ledger.blocks[Ledger.ENGINE]
            engine.cell("inferctl_instances", model.place).set(1)
            engine.cell("inferctl_max_batch_rows", model.place).set(window / 2)
        spec = WorkerSpec(
            models=(), workers=1, ledger_fd=-1, process=WORKER, roster=Roster(), index=index,
            listen_fd=-1, server=worker.server, logs=LogsSettings(), jobs=settings,
        )  # fmt: skip
        errors = ledger.blocks[WORKER].cell("inferctl_job_store_errors_total")
        opened = open_store or (lambda _: SqliteStore(state, settings))
        desk = Desk(lambda: opened(settings), errors)
        pump = Pump(
            spec, ledger, worker.catalogue, worker.state, worker.predict, desk, this_process()
        )
        site = Site(worker, pump, store, settings, asyncio.create_task(pump.run()))
        try:
            yield site
        finally:
            pump.drain(0)
            await asyncio.wait({site.pumping}, timeout=10)
            desk.close()
            store.close()
        assert site.pumping.exception() is None
