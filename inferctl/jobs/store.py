"""What keeps jobs: the promises that SQLite and Redis both have to keep.

A submitted job survives the death of every process. It is done at least once, and has one terminal
result that anybody can ever see: whoever does it has a claim with a number, and what comes with
another number than the last one's changes nothing.

What a method does to a job is one transaction: it has happened, or it has not. What it does to
many, in a purge, a sweep or a large submission, and the removal of what is of no use any more, may
take several. Methods block, so they are called in a thread of their own
(`inferctl/server/jobs/desk.py`). Each may raise StoreUnavailable: the store is locked, full,
damaged, gone, or does not answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from inferctl.jobs.job import (
    Claim,
    Item,
    Job,
    NewJob,
    Owner,
    Page,
    Report,
    Result,
    State,
    Submitted,
    Swept,
)
from inferctl.refusals import Unavailable


class StoreUnavailable(Unavailable):
    """The job store cannot be used now; the rest of the service goes on."""


class Store(Protocol):
    """Where jobs are. Made in the process that uses it, and used by one thread."""

    # Those who ask. `key` is the name of their API key, "" where there are none; None is an
    # operator, who sees every job.

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted | Exception]:
        """Take them in; durable when it returns. For each what became of it: TooLarge or Overloaded
        when there is no room, Unprocessable when its idempotency key was used for something else.
        """
        ...

    def find(self, job_id: str, key: str | None) -> Job:
        """One job. Raises NotFound, the same for ids that are unknown, malformed or another key's,
        and Gone when it expired."""
        ...

    def page(self, key: str | None, states: Collection[State], limit: int, after: str = "") -> Page:
        """A part of the list, the newest first; `after` is a page's `next`. Raises RequestError."""
        ...

    def results(self, job_id: str, key: str | None, first: int, limit: int) -> list[Result]:
        """Results by item number, from `first` on; while it is open, those that are there.

        Raises NotFound or Gone.
        """
        ...

    def cancel(self, job_id: str, key: str | None) -> Job:
        """A queued one is cancelled at once, a running one loses its claim and is cancelled too,
        with the results that it has; a cancelled one stays so. Raises Conflict when it is done or
        failed, NotFound, Gone."""
        ...

    def retry(self, job_id: str) -> Job:
        """A failed or cancelled one is queued again, with its attempts forgotten, its results that
        are no problems kept. Raises Conflict, also when there was no room to keep its inputs,
        NotFound, Gone."""
        ...

    def purge(self, states: Collection[State], older_than_s: float) -> int:
        """Forget terminal ones that ended so long ago, as if they had expired; how many."""
        ...

    # Those who do them.

    def claim(self, owner: Owner, limit: int, only: str = "") -> list[Claim]:
        """Begin up to `limit` that wait, oldest first; each begins an attempt. `only` is one id,
        which is claimed if it may be."""
        ...

    def items(self, claim: Claim, limit: int, max_bytes: int, beyond: int = -1) -> list[Item]:
        """Items without a result, by number, above `beyond`; at least one if there is one, and none
        when the claim is lost."""
        ...

    def keep(self, claims: Sequence[Claim]) -> set[str]:
        """Renew their leases; the ids of those that are lost or cancelled."""
        ...

    def report(self, reports: Sequence[Report]) -> set[str]:
        """Keep for each its results, and end the job or queue it again if it says so, of all in one
        transaction; the ids of claims that are lost, of which nothing is kept.

        Inputs of what ends are forgotten, but those that `retry` needs. What is queued again waits
        for whoever comes in `after_s` or later; `charged` is whether the attempt counts: the last
        one's job has failed then."""
        ...

    def sweep(self) -> Swept:
        """Queue again what dead owners had, fail what has no attempt left, expire old results.

        It takes little time, and is called often.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
