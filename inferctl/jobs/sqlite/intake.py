"""Jobs that come: whether there is room, and whether they came before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from inferctl.jobs.answers import key_reused, little_disk, no_room, too_many_bytes, too_many_items
from inferctl.jobs.job import NewJob, Submitted
from inferctl.jobs.sqlite.database import Database
from inferctl.jobs.sqlite.rows import JOB, blob, job_of, spots
from inferctl.jobs.sqlite.schema import DRAIN_S, SPAN
from inferctl.jobs.store import StoreUnavailable
from inferctl.refusals import Overloaded, TooLarge

# What one transaction takes in: what it writes stays in the log until it is over.
GROUP_BYTES = 16 * 1024 * 1024
# No jobs are taken in where less of the disk is free, unless that is a tenth of a small one.
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 64 * 1024 * 1024, 0.01

INSERT = f"""
INSERT INTO jobs (
    id, key, model, version, content_type, query, is_bulk, idempotency_key, fingerprint, items,
    bytes, created_s
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number, {JOB}
"""
SAME = f"""
SELECT number, fingerprint, expires_s, {JOB} FROM jobs
WHERE key = ? AND idempotency_key = ? AND idempotency_key <> ''
"""


class Intake(Database):
    """Takes jobs in."""

    def submit(self, jobs: Sequence[NewJob]) -> list[Submitted | Exception]:
        """See `Store.submit`. What is more than 16 MiB together is several transactions: those that
        cannot be done any more are answered with StoreUnavailable each."""
        outcomes: list[Submitted | Exception] = []
        for group in _groups(jobs):
            try:
                with self._writing() as connection:
                    taken = self._take_in(connection, group)
            except StoreUnavailable as error:
                if not outcomes:
                    raise
                error.with_traceback(None)
                return [*outcomes, *[error] * (len(jobs) - len(outcomes))]
            outcomes += taken
        return outcomes

    def _take_in(
        self, connection: sqlite3.Connection, jobs: Sequence[NewJob]
    ) -> list[Submitted | Exception]:
        room = Room(connection, self._settings.max_jobs, self._settings.max_bytes, self._now())
        outcomes: list[Submitted | Exception] = []
        for job in jobs:
            try:
                outcomes.append(self._submit(connection, job, room))
            except (TooLarge, Overloaded) as refusal:
                # Its frames hold the bodies of all that came with it.
                outcomes.append(refusal.with_traceback(None))
        return outcomes

    def _submit(
        self, connection: sqlite3.Connection, job: NewJob, room: Room
    ) -> Submitted | Exception:
        if len(job.items) > min(self._settings.max_items, SPAN):
            raise too_many_items(self._settings.max_items)
        now_s = self._now()
        if job.idempotency_key:
            earlier = connection.execute(SAME, (job.key, job.idempotency_key)).fetchone()
            if earlier is not None:
                number, fingerprint, expires_s, *row = earlier
                if expires_s is None or expires_s > now_s:
                    same = fingerprint == job.fingerprint
                    return Submitted(job_of(tuple(row)), is_new=False) if same else key_reused()
                connection.execute(
                    "UPDATE jobs SET idempotency_key = '' WHERE number = ?", (number,)
                )
        if is_short(self._path.parent):
            raise little_disk()
        room.take(job.size_bytes)
        values = (
            blob(job.id), job.key, job.model, job.version, job.content_type, job.query, job.is_bulk,
            job.idempotency_key, job.fingerprint, len(job.items), job.size_bytes, now_s,
        )  # fmt: skip
        ((number, *row),) = connection.execute(INSERT, values).fetchall()
        first, _ = spots(number)
        connection.executemany("INSERT INTO inputs VALUES (?, ?)", enumerate(job.items, first))
        return Submitted(job_of(tuple(row)), is_new=True)


class Room:
    """What fits beside the jobs that wait or are being done, counted once for a transaction."""

    def __init__(
        self, connection: sqlite3.Connection, max_jobs: int, max_bytes: int, now_s: float
    ) -> None:
        self._connection = connection
        self._max_jobs, self._max_bytes = max_jobs, max_bytes
        self._slot = int(now_s / DRAIN_S)
        self._refused = 0
        ((self._jobs, self._bytes),) = connection.execute(
            "SELECT sum(jobs), sum(bytes) FROM counts WHERE state IN ('queued', 'running')"
        ).fetchall()

    def take(self, size_bytes: int) -> None:
        """Raises Overloaded where it does not fit, TooLarge where it never would."""
        if size_bytes > self._max_bytes:
            raise too_many_bytes(self._max_bytes)
        if self._jobs >= self._max_jobs or self._bytes + size_bytes > self._max_bytes:
            self._refused += 1
            raise no_room(self._ended_in_a_minute(), self._refused)
        self._jobs += 1
        self._bytes += size_bytes

    def _ended_in_a_minute(self) -> int:
        ((ended,),) = self._connection.execute(
            "SELECT coalesce(sum(jobs), 0) FROM drain WHERE slot > ? AND slot <= ?",
            (self._slot - 60 // DRAIN_S, self._slot),
        ).fetchall()
        return int(ended)


def is_short(folder: Path) -> bool:
    """Whether results may soon not fit on the disk. Where nothing is left SQLite says so."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    all_bytes, free_bytes = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    least_bytes = max(LEAST_FREE_BYTES, all_bytes * LEAST_FREE_SHARE)
    return 0 < free_bytes < min(least_bytes, all_bytes / 10)


def _groups(jobs: Sequence[NewJob]) -> Iterator[list[NewJob]]:
    group: list[NewJob] = []
    size_bytes = 0
    for job in jobs:
        if group and size_bytes + job.size_bytes > GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
        group.append(job)
        size_bytes += job.size_bytes
    if group:
        yield group
