"""A row of `jobs` as others know it, and the changes of state that several parts make."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from inferctl.jobs.job import JOB_ID, Claim, Job, State
from inferctl.jobs.sqlite.schema import SPAN

JOB = (
    "lower(hex(id)), model, version, key, state, is_bulk, items, done_items, failed_items,"
    " attempts, revision, created_s, started_s, ended_s, expires_s, problem"
)
CLAIM = (
    "lower(hex(id)), fence, attempts, model, version, content_type, query, is_bulk, items,"
    " done_items, failed_items"
)
# No owner, and no lease.
NOBODY = "node = NULL, boot = NULL, pid = NULL, born_ticks = NULL, lease_ends_s = NULL"

END = f"""
UPDATE jobs SET state = :state, ended_s = :now, expires_s = :now + :keep_s, problem = :problem,
    ready_s = 0, revision = revision + 1, {NOBODY},
    bytes = CASE WHEN :state <> 'done' AND bytes + (
        SELECT sum(bytes) FROM counts WHERE state IN ('failed', 'cancelled')
    ) <= :max_bytes THEN bytes ELSE 0 END
WHERE number = :number RETURNING bytes
"""
QUEUE = f"""
UPDATE jobs SET state = 'queued', ready_s = ?, attempts = attempts - ?,
    revision = revision + 1, {NOBODY}
WHERE number = ?
"""


def blob(job_id: str) -> bytes:
    """An id as it is stored; one that nothing has if it is malformed, so that it is looked for."""
    return bytes.fromhex(job_id) if JOB_ID.fullmatch(job_id) else b""


def job_of(row: tuple[Any, ...]) -> Job:
    """From the columns of `JOB`."""
    values = [*row]
    values[5] = bool(row[5])
    values[-1] = orjson.loads(row[-1]) if row[-1] else None
    return Job(*values)


def claim_of(row: tuple[Any, ...], max_attempts: int) -> Claim:
    """From the columns of `CLAIM`."""
    job_id, fence, attempt, model, version, content_type, query, is_bulk, items, done, failed = row
    return Claim(
        job_id, fence, attempt, attempt >= max_attempts, model, version, content_type, query,
        bool(is_bulk), items, done, failed,
    )  # fmt: skip


def spots(number: int, first: int = 0) -> tuple[int, int]:
    """Of a job's items, from `first` on: the first spot, and the one after the last."""
    return number * SPAN + min(max(first, 0), SPAN), (number + 1) * SPAN


def end(
    connection: sqlite3.Connection, number: int, state: State, problem: dict[str, Any] | None,
    now_s: float, keep_s: float, max_bytes: int,
) -> bool:  # fmt: skip
    """An open job ends. Whether its inputs are kept, with which it can be begun anew: those of
    done jobs are not, nor what is more than `max_bytes` of all that ended."""
    values = {
        "number": number, "state": state, "now": now_s, "keep_s": keep_s, "max_bytes": max_bytes,
        "problem": orjson.dumps(problem) if problem else None,
    }  # fmt: skip
    ((kept,),) = connection.execute(END, values).fetchall()
    return bool(kept)


def queue(
    connection: sqlite3.Connection, number: int, ready_s: float = 0, *, charged: bool
) -> None:
    """A running job waits again, until `ready_s` at least."""
    connection.execute(QUEUE, (ready_s, not charged, number))
