"""What those ask who submitted jobs, and operators."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from itertools import product
from typing import Any

from inferctl.jobs.answers import already, expired, inputs_gone, no_such_page, unknown
from inferctl.jobs.job import OPEN, STATES, TERMINAL, Job, Page, Result, State
from inferctl.jobs.sqlite.removal import Removal
from inferctl.jobs.sqlite.rows import JOB, blob, job_of, spots

FIND = f"SELECT number, {JOB} FROM jobs WHERE id = ?"
LIST = f"""
SELECT number, {JOB} FROM jobs
WHERE key = ? AND state = ? AND number < ? AND (expires_s IS NULL OR expires_s > ?)
ORDER BY number DESC LIMIT ?
"""
# Each key once, without looking at every job.
KEYS = """
WITH RECURSIVE keys (key) AS (
    SELECT min(key) FROM jobs
    UNION ALL SELECT (SELECT min(key) FROM jobs WHERE key > keys.key) FROM keys
    WHERE keys.key IS NOT NULL
) SELECT key FROM keys WHERE key IS NOT NULL
"""
AGAIN = """
UPDATE jobs SET state = 'queued', ready_s = 0, attempts = 0, done_items = done_items - failed_items,
    failed_items = 0, started_s = NULL, ended_s = NULL, expires_s = NULL, problem = NULL,
    revision = revision + 1
WHERE number = ?
"""
# So many numbers of jobs are looked at in one transaction.
SOME_NUMBERS = 10_000
PURGE = f"""
UPDATE jobs SET expires_s = :now
WHERE state = :state AND ended_s <= :until AND expires_s > :now AND number > :beyond
AND number <= :beyond + {SOME_NUMBERS}
"""
LAST = (1 << 63) - 1


class Asking(Removal):
    """Finds jobs, and changes what becomes of them."""

    def find(self, job_id: str, key: str | None) -> Job:
        """See `Store.find`."""
        with self._reading() as connection:
            return self._find(connection, job_id, key)[1]

    def page(self, key: str | None, states: Collection[State], limit: int, after: str = "") -> Page:
        """See `Store.page`; `after` is a job's id: numbers would tell how many others have. All
        states where none is named."""
        found: list[tuple[Any, ...]] = []
        with self._reading() as connection:
            before = _number(connection, after, key) if after else LAST
            keys = [key] if key is not None else [row[0] for row in connection.execute(KEYS)]
            for of_key, state in product(keys, set(states or STATES)):
                asked = (of_key, state, before, self._now(), limit + 1)
                found += connection.execute(LIST, asked).fetchall()
        found.sort(reverse=True)
        jobs = [job_of(row[1:]) for row in found[:limit]]
        return Page(jobs, jobs[-1].id if len(found) > limit else "")

    def results(self, job_id: str, key: str | None, first: int, limit: int) -> list[Result]:
        """See `Store.results`."""
        with self._reading() as connection:
            number, _ = self._find(connection, job_id, key)
            begin, beyond = spots(number, first)
            first_of_all, _ = spots(number)
            rows = connection.execute(
                "SELECT spot, status, body FROM results WHERE spot >= ? AND spot < ?"
                " ORDER BY spot LIMIT ?",
                (begin, beyond, limit),
            )
            return [Result(spot - first_of_all, status, body) for spot, status, body in rows]

    def cancel(self, job_id: str, key: str | None) -> Job:
        """See `Store.cancel`. Its inputs are kept as `rows.end` says."""
        kept = True
        with self._writing() as connection:
            number, job = self._find(connection, job_id, key)
            if job.state in OPEN:
                kept = self._end(connection, number, "cancelled")
                _, job = self._find(connection, job_id, key)
            elif job.state != "cancelled":
                raise already(job.state)
        if not kept:
            self._forget_inputs(number)
        return job

    def retry(self, job_id: str) -> Job:
        """See `Store.retry`. Raises Conflict too when its inputs are kept no more."""
        with self._writing() as connection:
            number, job = self._find(connection, job_id, None)
            if job.state not in ("failed", "cancelled"):
                raise already(job.state)
            among = spots(number)
            connection.execute(
                "DELETE FROM results WHERE spot >= ? AND spot < ? AND status <> 200", among
            )
            if not _has_what_is_left(connection, number, job):
                raise inputs_gone()
            connection.execute(AGAIN, (number,))
            return self._find(connection, job_id, None)[1]

    def purge(self, states: Collection[State], older_than_s: float) -> int:
        """See `Store.purge`: they have expired then."""
        purged = 0
        now_s = self._now()
        with self._reading() as connection:
            ((last,),) = connection.execute("SELECT coalesce(max(number), 0) FROM jobs").fetchall()
        for state, beyond in product(set(states) & TERMINAL, range(0, last, SOME_NUMBERS)):
            values = {"now": now_s, "state": state, "until": now_s - older_than_s, "beyond": beyond}
            with self._writing() as connection:
                purged += connection.execute(PURGE, values).rowcount
            self._let_others()
        while self._expire_some() is not None:
            self._let_others()
        return purged

    def _find(
        self, connection: sqlite3.Connection, job_id: str, key: str | None
    ) -> tuple[int, Job]:
        """Its number too. What is not there, is no id, or is another key's costs the same."""
        rows = _of_key(connection, FIND, job_id, key)
        if rows and (rows[0][-2] is None or rows[0][-2] > self._now()):
            return rows[0][0], job_of(rows[0][1:])
        gone = _of_key(connection, "SELECT 1 FROM tombstones WHERE id = ?", job_id, key)
        raise expired() if rows or gone else unknown()


def _number(connection: sqlite3.Connection, after: str, key: str | None) -> int:
    """Of the job that a page ended with."""
    rows = _of_key(connection, "SELECT number FROM jobs WHERE id = ?", after, key)
    if not rows:
        raise no_such_page()
    return int(rows[0][0])


def _of_key(
    connection: sqlite3.Connection, select: str, job_id: str, key: str | None
) -> list[tuple[Any, ...]]:
    if key is None:
        return connection.execute(select, (blob(job_id),)).fetchall()
    return connection.execute(f"{select} AND key = ?", (blob(job_id), key)).fetchall()


def _has_what_is_left(connection: sqlite3.Connection, number: int, job: Job) -> bool:
    """Whether all inputs without a result are there, and not about to be removed: those have no
    bytes any more, as far as the job says."""
    ((inputs, size_bytes),) = connection.execute(
        "SELECT count(*), coalesce(sum(length(body)), 0) FROM inputs WHERE spot >= ? AND spot < ?",
        spots(number),
    ).fetchall()
    ((kept_bytes,),) = connection.execute(
        "SELECT bytes FROM jobs WHERE number = ?", (number,)
    ).fetchall()
    undone = job.items - (job.done_items - job.failed_items)
    return bool(inputs >= undone and kept_bytes >= size_bytes)
