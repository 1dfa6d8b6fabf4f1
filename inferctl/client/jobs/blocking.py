"""Jobs of the client that blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

    def __call__(self, steps: Steps[T], /) -> T:
        """What they come to."""


class PendingJob:
    """A job of the server's, known by its `id`; it goes on without the client."""

    def __init__(self, job_id: str, dialogue: JobDialogue, run: Run) -> None:
        self.id = job_id
        self._dialogue, self._run = dialogue, run

    def status(self) -> JobStatus:
        """What became of it so far. Raises ClientError."""
        return self._run(self._dialogue.status(self.id))

    def result(self, timeout_s: float | None = None) -> Prediction:
        """Wait for the answer, for ever without a `timeout_s`.

        Raises what `predict` would have; DeadlineExceeded, while the job goes on; Conflict when it
        was cancelled, Gone when it is forgotten, and InvalidInput when it has many results.
        """
        return self._run(Watch(self._dialogue, self.id, timeout_s).result())

    def results(self, timeout_s: float | None = None) -> Iterator[Outcome]:
        """Yield a prediction or a ClientError for each input, in their order, as they come.

        Raises DeadlineExceeded after `timeout_s`, while the job goes on, and ClientError.
        """
        reading = Reading(self._dialogue, self.id, timeout_s)
        while not reading.is_over:
            yield from self._run(reading.more())

    def cancel(self) -> JobStatus:
        """Have it not be done, or not to its end. Raises Conflict when it is over, ClientError."""
        return self._run(self._dialogue.cancel(self.id))

    def __repr__(self) -> str:
        return f"<PendingJob {self.id}>"


class PendingJobs:
    """Jobs that were submitted together; `jobs` are as many as the inputs' size took.

    `items` is the number of inputs; `errors` are of those that are in no job, by their places.
    """

    def __init__(self, bulk: Bulk, dialogue: JobDialogue, run: Run) -> None:
        self.jobs: Sequence[PendingJob] = tuple(
            PendingJob(share.status.id, dialogue, run) for share in bulk.shares
        )
        self.items = bulk.items
        self.errors: Mapping[int, ClientError] = bulk.errors
        self._bulk, self._dialogue, self._run = bulk, dialogue, run

    def status(self) -> list[JobStatus]:
        """What became of each job so far. Raises ClientError."""
        return [job.status() for job in self.jobs]

    def results(self, timeout_s: float | None = None) -> Iterator[Outcome]:
        """As `PendingJob.results`, for all inputs; those that could not be sent are in place."""
        gathering = Gathering(self._dialogue, self._bulk, timeout_s)
        while not gathering.is_over:
            yield from self._run(gathering.more())

    def cancel(self) -> list[JobStatus]:
        """Cancel them all. Raises Conflict at one that is over, and ClientError."""
        return [job.cancel() for job in self.jobs]
