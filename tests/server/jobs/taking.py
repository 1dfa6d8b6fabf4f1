"""A worker that takes jobs in, with a real store of which the test itself does the jobs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferctl.bundles.manifest import Manifest
from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Claim, Item, Result
from inferctl.jobs.owners import this_process
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import Store
from inferctl.server.app import App
from inferctl.server.documentation import Documentation
from inferctl.server.jobs.desk import Desk
from inferctl.server.jobs.parts import JobsParts
from inferctl.server.rest import Voice, build_rest
from tests.jobs.made import end, record

from ..asgi import Answer, ask
from ..wiring import WORKER, Worker, working

DONE = b'{"label":"good"}'


@dataclass
class Taking:
    """`woken` has an entry for each job that came; `now_s` is the store's clock."""

    worker: Worker
    desk: Desk
    woken: list[None] = field(default_factory=list)
    now_s: float = field(default_factory=time.time)

    @property
    def app(self) -> App:
        return self.worker.app

    async def get(self, path: str, **request: Any) -> Answer:
        return await ask(self.app, path, method="GET", **request)

    async def delete(self, path: str, **request: Any) -> Answer:
        return await ask(self.app, path, method="DELETE", **request)

    async def begin(self) -> Claim:
        """Claim the oldest job."""
        owner = this_process()
        (claim,) = await self.desk.do(lambda store: store.claim(owner, 1))
        return claim

    async def items(self) -> list[Item]:
        """Of the oldest job, once it is begun."""
        claim = await self.begin()
        return await self.desk.do(lambda store: store.items(claim, 100, 2**20))

    async def record(self, claim: Claim, numbers: Sequence[int], body: bytes = DONE) -> None:
        results = [Result(number, 200, body) for number in numbers]
        assert await self.desk.do(lambda store: record(store, claim, results))

    async def finish(self, claim: Claim, *results: Result) -> None:
        """With these results; if one of them is a problem the job has failed."""
        failed = any(result.status != 200 for result in results)

        def ended(store: Store) -> bool:
            return end(store, claim, "failed" if failed else "done", results=results)

        assert await self.desk.do(ended)

    def total(self, name: str, value: str = "") -> float:
        return self.worker.ledger.total(name, value=value)


@asynccontextmanager
async def taking(
    folder: Path, *manifests: Manifest, jobs: JobsSettings | None = None, **options: Any
) -> AsyncIterator[Taking]:
    """`options` are of `working`."""
    jobs = jobs or JobsSettings()
    prepare_store(folder / "state", strict=True)
    async with working(folder, *manifests, **options) as worker:
        block = worker.ledger.blocks[WORKER]

        def opened() -> Store:
            return SqliteStore(folder / "state", jobs, now=lambda: taken.now_s)

        desk = Desk(opened, block.cell("inferctl_job_store_errors_total"))
        taken = Taking(worker, desk)
        parts = JobsParts(desk, jobs, lambda: taken.woken.append(None))
        rest = build_rest(worker.server, takes_jobs=True)
        voice = Voice(
            worker.state, worker.exposition, worker.catalogue,
            Documentation(rest.openapi, worker.catalogue), worker.repository, parts,
        )  # fmt: skip
        worker.app = App(worker.predict, rest, voice, worker.log)
        try:
            yield taken
        finally:
            desk.close()
