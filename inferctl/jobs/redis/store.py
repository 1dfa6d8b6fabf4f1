"""The job store in Redis. What a method does is a script, which Redis does as a whole, or a few of
them; and ids that wait then are sent, of which some may be lost. The only clock is that of Redis.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, cast

import structlog

from inferctl.deferral import JobsSettings
from inferctl.jobs.answers import (
    already,
    attempts_exhausted,
    expired,
    inputs_gone,
    key_reused,
    no_room,
    no_such_page,
    settled,
    too_many_bytes,
    too_many_items,
    unknown,
)
from inferctl.jobs.job import (
    JOB_ID,
    STATES,
    TERMINAL,
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
from inferctl.jobs.pauses import FIRST_PAUSE_S, LONGEST_AFTER_DEATH_S, PAUSE_GROWTH, return_s
from inferctl.jobs.redis.connection import Connection
from inferctl.jobs.redis.names import CARRIED, PAYLOAD_VERSION
from inferctl.jobs.redis.records import (
    owner_text,
    read_claim,
    read_job,
    read_owner,
    read_result,
    reported,
    submitted,
)

log = structlog.get_logger()

# What is asked for in one script, so that others' need not wait long for it.
PURGED_AT_ONCE = 1000
# More than a job can have: Redis counts bits in a string of 512 MiB.
MOST_ITEMS = 1 << 31

# In the order in which the script `sweep` counts them.
COUNTED: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")


class Carrier(Protocol):
    """Tells those who do jobs which there are."""

    def send(self, ids: Sequence[str]) -> None:
        """Send what can be sent; what is lost the sweeper sends again."""

    def close(self) -> None:
        """Let go of it."""


class RedisStore:
    """`Store` in Redis. `is_dead` says of an owner that it is, as far as one can see from here;
    of those elsewhere one cannot. `carrier` is told of each job that waits.
    """

    def __init__(
        self,
        connection: Connection,
        settings: JobsSettings,
        carrier: Carrier,
        is_dead: Callable[[Owner], bool],
    ) -> None:
        self._run = connection.run
        self._connection, self._carrier, self._is_dead = connection, carrier, is_dead
        self._settings = settings
        # For how long what is over is kept, and of its inputs how much.
        self._kept = (settings.keep_h * 3600, settings.max_bytes)

    # Those who ask.

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted | Exception]:
        """See Store."""
        outcomes: dict[str, Submitted | Exception] = {
            job.id: too_many_items(self._settings.max_items)
            for job in jobs
            if len(job.items) > self._settings.max_items
        }
        asked = [job for job in jobs if job.id not in outcomes]
        if asked:
            limits = (self._settings.max_jobs, self._settings.max_bytes, PAYLOAD_VERSION)
            arguments = [argument for job in asked for argument in submitted(job)]
            refused = 0
            answers = self._run("submit", *limits, *arguments, again=True)
            for job, answer in zip(asked, answers, strict=True):
                refused += answer[0] == b"full"
                outcomes[job.id] = self._outcome(answer, refused)
        self._send(
            [job.id for job in asked if getattr(outcomes[job.id], "is_new", False)],
        )
        return [outcomes[job.id] for job in jobs]

    def find(self, job_id: str, key: str | None) -> Job:
        """See Store."""
        state, *found = self._run("find", _known(job_id), _holder(key))
        _check(state)
        return read_job(found[0])

    def page(self, key: str | None, states: Collection[State], limit: int, after: str = "") -> Page:
        """See Store; `after` is a job's id."""
        answer = None
        if not after or JOB_ID.fullmatch(after):
            wanted = ",".join(set(states or STATES))
            answer = self._run("page", _holder(key), wanted, limit, after)
        if answer is None:
            raise no_such_page()
        following, found = answer
        return Page([read_job(fields) for fields in found], following.decode())

    def results(self, job_id: str, key: str | None, first: int, limit: int) -> list[Result]:
        """See Store."""
        beginning = min(max(first, 0), MOST_ITEMS)
        state, found = self._run("results", _known(job_id), _holder(key), beginning, limit)
        _check(state)
        return [read_result(int(number), kept) for number, kept in _pairs(found)]

    def cancel(self, job_id: str, key: str | None) -> Job:
        """See Store."""
        return self._changed(self._run("cancel", _known(job_id), _holder(key), *self._kept))

    def retry(self, job_id: str) -> Job:
        """See Store."""
        job = self._changed(self._run("retry", _known(job_id)))
        self._send([job.id])
        return job

    def purge(self, states: Collection[State], older_than_s: float) -> int:
        """See Store."""
        over = ",".join(set(states) & TERMINAL)
        purged = left = 0
        while True:
            part: list[int] = self._run("purge", over, older_than_s, left, PURGED_AT_ONCE)
            purged, left = purged + part[0], left + part[1]
            if sum(part) < PURGED_AT_ONCE:
                return purged

    # Those who do them.

    def claim(self, owner: Owner, limit: int, only: str = "") -> list[Claim]:
        """See Store. What a newer version took in is left to those who know what it is."""
        claims, newer = self._run(
            "claim",
            owner_text(owner),
            limit,
            only,
            self._settings.lease_s,
            self._settings.max_attempts,
            PAYLOAD_VERSION,
        )
        for one in newer:
            log.warning(
                "a job of a newer version stays queued: update this service",
                code="version",
                job=one.decode(),
            )
        return [read_claim(fields) for fields in claims]

    def items(self, claim: Claim, limit: int, max_bytes: int, beyond: int = -1) -> list[Item]:
        """See Store."""
        found = self._run("items", claim.id, claim.fence, limit, max_bytes, beyond)
        return [Item(int(number), body) for number, body in _pairs(found)]

    def keep(self, claims: Sequence[Claim]) -> set[str]:
        """See Store."""
        if not claims:
            return set()
        named = [part for claim in claims for part in (claim.id, claim.fence)]
        return {one.decode() for one in self._run("keep", self._settings.lease_s, *named)}

    def report(self, reports: Sequence[Report]) -> set[str]:
        """See Store. What is queued again is sent, unless it is to wait: then a sweep does."""
        reports = [*map(settled, reports)]
        told = [part for report in reports for part in reported(report)]
        lost = {one.decode() for one in self._run("report", *self._kept, *told)}
        self._send(
            [
                report.claim.id
                for report in reports
                if report.state == "queued" and report.after_s <= 0 and report.claim.id not in lost
            ]
        )
        return lost

    def sweep(self) -> Swept:
        """See Store. Ids that got lost on their way to those who do jobs are sent again."""
        owners = self._run("owners")
        dead = [text for text in owners if self._is_dead(read_owner(text))]
        *numbers, unfinished, send, counts, due = self._run(
            "sweep",
            self._settings.max_attempts,
            json.dumps(attempts_exhausted(self._settings.max_attempts)),
            *self._kept,
            CARRIED,
            *(self._settings.lease_s, return_s(self._settings.lease_s)),
            *(FIRST_PAUSE_S, PAUSE_GROWTH, LONGEST_AFTER_DEATH_S),
            *dead,
        )
        self._send([one.decode() for one in send])
        redelivered, exhausted, over = map(int, numbers)
        by_state = {state: int(counts[place] or 0) for place, state in enumerate(COUNTED)}
        due_s = float(due) if due else math.inf
        return Swept(redelivered, exhausted, over, by_state, bool(unfinished), due_s)

    def close(self) -> None:
        """See Store."""
        self._carrier.close()
        self._connection.close()

    def _send(self, ids: Sequence[str]) -> None:
        if ids:
            self._carrier.send(ids)

    def _changed(self, answer: list[Any]) -> Job:
        state, *found = answer
        _check(state)
        if state == b"conflict":
            raise already(found[0].decode())
        if state == b"forgotten":
            raise inputs_gone()
        return read_job(found[0])

    def _outcome(self, answer: list[Any], refused: int) -> Submitted | Exception:
        kind, *more = answer
        if kind == b"reused":
            return key_reused()
        if kind == b"large":
            return too_many_bytes(self._settings.max_bytes)
        if kind == b"full":
            return no_room(int(more[0]), refused)
        return Submitted(read_job(more[0]), is_new=kind == b"new")


def _known(job_id: str) -> str:
    """The id, if it can be one. Raises NotFound."""
    if not JOB_ID.fullmatch(job_id):
        raise unknown()
    return job_id


def _holder(key: str | None) -> str:
    """A key's name as scripts compare it: nobody is called `*`, and no key is called nothing."""
    return "*" if key is None else f"{key}."


def _check(state: bytes) -> None:
    if state == b"missing":
        raise unknown()
    if state == b"gone":
        raise expired()


def _pairs(found: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(cast(Any, found[::2]), found[1::2], strict=True))
