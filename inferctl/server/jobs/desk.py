"""The job store's thread in this worker: it blocks, and the event loop must not."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from inferctl.arena.cells import Cell
from inferctl.jobs.job import NewJob, Submitted
from inferctl.jobs.store import Store, StoreUnavailable

T = TypeVar("T")

# Where the first one waits for so long, so many may wait.
HELD_UP_S, MOST_WAITING = 0.5, 256


class Desk:
    """Asks the store one thing after the other. Submissions that wait are committed together.

    `open_store` is called in the thread, when it is first needed, and again after it failed.
    `errors` counts what it could not do.
    """

    def __init__(self, open_store: Callable[[], Store], errors: Cell) -> None:
        self._open, self._errors = open_store, errors
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(1, "jobs")
        # When those asked who wait for an answer, the first one first.
        self._asked_s: deque[float] = deque()
        self._waiting: list[NewJob] = []
        self._taking_in: asyncio.Task[dict[str, Submitted | Exception]] | None = None

    async def do(self, ask: Callable[[Store], T]) -> T:
        """What `ask` says of the store, in its thread. Raises what it raises, and StoreUnavailable
        where too many wait."""
        self._refuse_where_many_wait()
        return await self._ask(ask)

    async def submit(self, job: NewJob) -> Submitted:
        """Take a job in. Raises what `Store.submit` says of it, and StoreUnavailable."""
        self._refuse_where_many_wait()
        self._waiting.append(job)
        if self._taking_in is None:
            self._taking_in = asyncio.create_task(self._take_in())
        outcome = (await asyncio.shield(self._taking_in))[job.id]
        if isinstance(outcome, Submitted):
            return outcome
        try:
            raise outcome
        finally:
            # It has this frame, which has it and the job: bodies stayed until a collection.
            del outcome

    async def _take_in(self) -> dict[str, Submitted | Exception]:
        """What came until the thread was free, in one transaction; by the jobs' ids."""
        try:
            await self._ask(lambda _: None)
        finally:
            jobs, self._waiting, self._taking_in = self._waiting, [], None
        outcomes = await self._ask(lambda store: store.submit(jobs))
        return {job.id: outcome for job, outcome in zip(jobs, outcomes, strict=True)}

    async def _ask(self, ask: Callable[[Store], T]) -> T:
        loop = asyncio.get_running_loop()
        self._asked_s.append(time.monotonic())
        try:
            return await loop.run_in_executor(self._thread, lambda: ask(self._opened()))
        except StoreUnavailable:
            self._errors.add()
            raise
        finally:
            self._asked_s.popleft()

    def _refuse_where_many_wait(self) -> None:
        """They have bodies, and would wait longer than they like to."""
        if len(self._asked_s) + len(self._waiting) < MOST_WAITING or not self._asked_s:
            return
        if time.monotonic() - self._asked_s[0] > HELD_UP_S:
            self._errors.add()
            raise StoreUnavailable("too many wait for the job store", hint="see to its disk")

    def close(self) -> None:
        """Do what waits, and let go of the store."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open()
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
