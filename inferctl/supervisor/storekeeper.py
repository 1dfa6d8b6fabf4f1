"""The folder where jobs are kept: whose it is, and that what is in it can be used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from inferctl.arena.ledger import JOBS_ARE_OURS, Ledger
from inferctl.deferral import JobsSettings
from inferctl.errors import StartError
from inferctl.jobs.stores import check_installed

log = structlog.get_logger()

LOOK_EVERY_S = 0.25


class StoreKeeper:
    """Has the lock of the folder for as long as the service runs; the ledger says when it has.

    Of two services with one folder the one that has the lock does jobs. The other one does not
    start; unless it `joins`, to take the place of the first: then it waits for its turn.
    """

    def __init__(self, settings: JobsSettings, ledger: Ledger, *, joins: bool) -> None:
        """Take the lock, and check the store, or make it. Raises StartError."""
        self._block = ledger.blocks[Ledger.SUPERVISOR]
        if settings.backend == "sqlite":
            self._take(Path(settings.path), strict=settings.strict_store, joins=joins)
            if not settings.run:  # no other may do them while this one has the lock
                log.warning(
                    "jobs are taken in, and nobody does them, nor forgets them when their time is "
                    "over: set jobs.run = true, or jobs.backend = celery and begin a jobs worker"
                )
        else:
            if settings.backend == "celery":
                check_installed()
            self._is_ours()

    def _take(self, folder: Path, *, strict: bool, joins: bool) -> None:
        # Not at the top: a service without jobs needs no database.
        from inferctl.jobs.sqlite.preparation import StoreLock, prepare_store  # noqa: PLC0415

        self._lock = StoreLock(folder)
        if self._lock.take():
            recreated = prepare_store(folder, strict)
            if recreated is not None:
                self._block.cell("inferctl_job_store_recreated").set(1)
                log.error("the job store was put aside", why=recreated.why, to=str(recreated.aside))
            self._is_ours()
        elif not joins:
            raise StartError(
                "another server does the jobs that are kept there",
                where=str(folder),
                hint="stop it, or name another folder as jobs.path",
            )

    async def keep(self) -> None:
        """Wait for the lock where another service has it; its store is as good as it left it. A
        folder that cannot be used now is waited for too."""
        is_told = False
        while not self._block.state(JOBS_ARE_OURS).get():
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if self._lock.take():
                    self._is_ours()
            except (StartError, OSError) as error:
                if not is_told:
                    log.error("the lock of the job store cannot be taken", reason=str(error))
                is_told = True

    def _is_ours(self) -> None:
        self._block.state(JOBS_ARE_OURS).set(1)
