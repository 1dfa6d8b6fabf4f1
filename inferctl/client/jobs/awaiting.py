"""Jobs of the client that is awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, TypeVar

from inferctl.client.dialogue import Outcome
from inferctl.client.errors import ClientError
from inferctl.client.exchange import Steps
from inferctl.client.jobs.bulk import Bulk, Gathering
from inferctl.client.jobs.dialogue import JobDialogue
from inferctl.client.jobs.reading import Reading
from inferctl.client.jobs.status import JobStatus
from inferctl.client.jobs.watch import Watch
from inferctl.client.results import Prediction

T = TypeVar("T")


class Run(Protocol):
    """Does the steps of a dialogue, one after the other."""

    async def __call__(self, steps: Steps[T], /) -> T:
        """What they come to."""


class AsyncPendingJob:
    """As `PendingJob`."""

    def __init__(self, job_id: str, dialogue: JobDialogue, run: Run) -> None:
        self.id = job_id
        self._dialogue, self._run = dialogue, run

    async def status(self) -> JobStatus:
        """As `PendingJob.status`. Raises ClientError."""
        return await self._run(self._dialogue.status(self.id))

    async def result(self, timeout_s: float | None = None) -> Prediction:
        """As `PendingJob.result`. Raises ClientError."""
        return await self._run(Watch(self._dialogue, self.id, timeout_s).result())

    async def results(self, timeout_s: float | None = None) -> AsyncIterator[Outcome]:
        """As `PendingJob.results`. Raises ClientError."""
        reading = Reading(self._dialogue, self.id, timeout_s)
        while not reading.is_over:
            for outcome in await self._run(reading.more()):
                yield outcome

    async def cancel(self) -> JobStatus:
        """As `PendingJob.cancel`. Raises ClientError."""
        return await self._run(self._dialogue.cancel(self.id))

    def __repr__(self) -> str:
        return f"<AsyncPendingJob {self.id}>"


class AsyncPendingJobs:
    """As `PendingJobs`."""

    def __init__(self, bulk: Bulk, dialogue: JobDialogue, run: Run) -> None:
        self.jobs: Sequence[AsyncPendingJob] = tuple(
            AsyncPendingJob(share.status.id, dialogue, run) for share in bulk.shares
        )
        self.items = bulk.items
        self.errors: Mapping[int, ClientError] = bulk.errors
        self._bulk, self._dialogue, self._run = bulk, dialogue, run

    async def status(self) -> list[JobStatus]:
        """As `PendingJobs.status`. Raises ClientError."""
        return [await job.status() for job in self.jobs]

    async def results(self, timeout_s: float | None = None) -> AsyncIterator[Outcome]:
        """As `PendingJobs.results`. Raises ClientError."""
        gathering = Gathering(self._dialogue, self._bulk, timeout_s)
        while not gathering.is_over:
            for outcome in await self._run(gathering.more()):
                yield outcome

    async def cancel(self) -> list[JobStatus]:
        """As `PendingJobs.cancel`. Raises ClientError."""
        return [await job.cancel() for job in self.jobs]
