"""What the scripts answer, as values. Their order is that of FIELDS in `prelude.lua`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from inferctl.jobs.job import Claim, Job, NewJob, Owner, Report, Result, State
from inferctl.jobs.redis.connection import Argument
from inferctl.jobs.redis.names import PAYLOAD_VERSION
from inferctl.jobs.store import StoreUnavailable

Fields = Sequence[bytes | None]

STATUS_DIGITS = 3


class NewerVersion(StoreUnavailable):
    """A job that a newer inferctl took in; this one leaves it as it is."""


def read_job(fields: Fields) -> Job:
    """A job as it is told. Raises NewerVersion."""
    texts = [(field or b"").decode() for field in fields]
    identity, model, version, key, state, bulk, *numbers = texts[:11]
    *times, problem, payload = texts[11:]
    if int(payload) > PAYLOAD_VERSION:
        raise NewerVersion(
            "this job was taken in by a newer version", hint="update every service that has jobs"
        )
    items, done, failed, attempts, revision = map(int, numbers)
    created, started, ended, expires = (float(time) if time else None for time in times)
    return Job(
        identity, model, version, key, cast(State, state), bulk == "1", items, done, failed,
        attempts, revision, created or 0.0, started, ended, expires, _problem(problem),
    )  # fmt: skip


def read_claim(fields: Sequence[Any]) -> Claim:
    """A claim of the script `claim`."""
    identity, fence, attempt, last, model, version, content_type, query, bulk, *counts = fields
    items, done, failed = map(int, counts)
    return Claim(
        id=identity.decode(),
        fence=int(fence),
        attempt=int(attempt),
        is_last=bool(last),
        model=model.decode(),
        version=version.decode(),
        content_type=content_type.decode(),
        query=query.decode(),
        is_bulk=bulk == b"1",
        items=items,
        done_items=done,
        failed_items=failed,
    )


def read_result(number: int, kept: bytes) -> Result:
    """A result as the script `report` keeps it: three digits of its status, and the body."""
    return Result(number, int(kept[:STATUS_DIGITS]), kept[STATUS_DIGITS:])


def submitted(job: NewJob) -> list[Argument]:
    """The arguments of the script `submit` for one job."""
    head: list[Argument] = [
        job.id, job.model, job.version, job.key, job.content_type, job.query, int(job.is_bulk),
        job.idempotency_key, job.fingerprint, len(job.items),
    ]  # fmt: skip
    return [*head, *job.items]


def reported(report: Report) -> list[Argument]:
    """The arguments of the script `report` for one claim."""
    head: list[Argument] = [
        report.claim.id, report.claim.fence, report.state or "",
        json.dumps(report.problem) if report.problem else "",
        int(report.charged), report.after_s, len(report.results),
    ]  # fmt: skip
    return [*head, *(part for one in report.results for part in (one.number, one.status, one.body))]


def owner_text(owner: Owner) -> str:
    """An owner as it stands in a job's hash."""
    return json.dumps([owner.node, owner.boot, owner.pid, owner.born_ticks])


def read_owner(text: bytes) -> Owner:
    """The same, read."""
    return Owner(*json.loads(text))


def _problem(text: str) -> dict[str, Any] | None:
    return json.loads(text) if text else None
