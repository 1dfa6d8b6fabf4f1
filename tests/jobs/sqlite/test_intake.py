"""Many who submit at once, and what is kept of what they sent."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import pytest

from inferctl.jobs.job import Report, Submitted
from inferctl.jobs.sqlite import intake, removal
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import StoreUnavailable
from inferctl.refusals import Conflict, Overloaded
from tests.jobs.made import OWNER, RIGHT, WRONG, begun, bulk, done, end, new, put, record, release
from tests.jobs.sqlite.folder import StoreFolder

FAILED = {"status": 422, "code": "unprocessable"}


def inputs(folder: StoreFolder) -> list[bytes]:
    """Bodies that are kept."""
    with closing(sqlite3.connect(folder.file)) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM inputs ORDER BY spot")]


@pytest.mark.row(139)
def test_of_fifty_at_once_with_one_idempotency_key_there_is_one_job(sqlite: StoreFolder) -> None:
    sqlite.open()

    def submitted() -> Submitted:
        with closing(SqliteStore(sqlite.path, sqlite.settings)) as store:
            (outcome,) = store.submit([new(idempotency_key="k", fingerprint=b"f")])
            assert isinstance(outcome, Submitted)
            return outcome

    with ThreadPoolExecutor(50) as threads:
        outcomes = [one.result() for one in [threads.submit(submitted) for _ in range(50)]]
    assert len({outcome.job.id for outcome in outcomes}) == 1
    assert sum(outcome.is_new for outcome in outcomes) == 1


def test_what_is_too_much_for_a_transaction_is_several(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of which may fail, when the first is in."""
    monkeypatch.setattr(intake, "GROUP_BYTES", 100)
    jobs = [new(b"x" * 60) for _ in range(3)]
    assert all(isinstance(one, Submitted) for one in store.submit(jobs))

    taken_in = store._take_in

    def failing(connection: sqlite3.Connection, group: list[object]) -> object:
        if len(store.page(None, [], 9).jobs) == 4:
            raise StoreUnavailable("the disk is full")
        return taken_in(connection, group)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_take_in", failing)
    outcomes = store.submit([new(b"x" * 60) for _ in range(3)])
    assert [type(one) for one in outcomes] == [Submitted, StoreUnavailable, StoreUnavailable]
    with pytest.raises(StoreUnavailable):
        store.submit([new()])


@pytest.mark.row(127)
def test_what_is_left_of_a_disk_is_for_results(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who submitted before is told so, and jobs that are there go on."""
    before = new(idempotency_key="k", fingerprint=b"f")
    put(store, before)
    for blocks, left, is_taken in ((10_000, 150, True), (10_000, 50, False), (100, 15, True)):
        free = Disk(f_frsize=1 << 20, f_blocks=blocks, f_bavail=left)
        monkeypatch.setattr(os, "statvfs", lambda _, free=free: free)
        (outcome,) = store.submit([new()])
        assert isinstance(outcome, Submitted if is_taken else Overloaded), free
        (again,) = store.submit([before])
        assert isinstance(again, Submitted)
    assert len(store.claim(OWNER, 9)) == 3


class Disk(NamedTuple):
    """What is known of one."""

    f_frsize: int
    f_blocks: int
    f_bavail: int


def test_inputs_are_forgotten_as_they_are_done(sqlite: StoreFolder, store: SqliteStore) -> None:
    claim = begun(store, bulk(3))
    record(store, claim, [RIGHT, WRONG])
    assert inputs(sqlite) == [b"1", b"2"], "one that failed may be tried again"
    end(store, claim, "done")
    assert inputs(sqlite) == []


def test_a_job_that_failed_keeps_what_a_retry_needs_until_it_expires(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    claim = begun(store, bulk(3))
    store.report([Report(claim, [RIGHT, WRONG], "failed", FAILED)])
    assert inputs(sqlite) == [b"1", b"2"]
    sqlite.clock.advance(24 * 3600)
    store.sweep()
    assert inputs(sqlite) == []


def test_of_jobs_that_ended_no_more_is_kept_than_may_wait(sqlite: StoreFolder) -> None:
    """Or whoever cancels what he submits would fill the disk."""
    store = sqlite.open(max_bytes=1024)
    first, second = put(store, new(b"x" * 600)), None
    store.cancel(first.id, None)
    second = put(store, new(b"y" * 600))
    store.cancel(second.id, None)
    assert inputs(sqlite) == [b"x" * 600]
    with pytest.raises(Conflict, match="kept no more"):
        store.retry(second.id)
    assert store.retry(first.id).state == "queued"


def test_what_has_only_a_part_of_its_inputs_is_not_begun_anew(
    sqlite: StoreFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, who removes them was killed before he began: it would be done, without results."""
    store = sqlite.open(max_bytes=1024)
    store.cancel(put(store, new(b"x" * 600)).id, None)
    job = put(store, new(b"x" * 600))
    monkeypatch.setattr(store, "_forget_inputs", lambda _: None)
    store.cancel(job.id, None)
    assert inputs(sqlite) == [b"x" * 600] * 2
    with pytest.raises(Conflict, match="kept no more"):
        store.retry(job.id)
    assert store.find(job.id, None).state == "cancelled"


def test_what_ended_is_told_even_where_its_inputs_cannot_be_removed(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = begun(store, bulk(3))
    monkeypatch.setattr(removal, "_remove", unavailable)
    assert store.report([Report(claim, [RIGHT], "done")]) == set()
    assert store.find(claim.id, None).state == "done"
    monkeypatch.undo()
    sqlite.clock.advance(24 * 3600)
    store.sweep()
    assert inputs(sqlite) == []


def unavailable(*_: object) -> None:
    raise StoreUnavailable("the disk is full")


def test_inputs_of_what_was_begun_anew_stay(sqlite: StoreFolder, store: SqliteStore) -> None:
    job = put(store)
    store.cancel(job.id, None)
    assert store.retry(job.id).state == "queued"
    store._forget_inputs(1)
    assert inputs(sqlite) == [b"{}"]
    store.cancel(job.id, None)
    store._forget_inputs(1)
    assert inputs(sqlite) == [b"{}"], "kept for another retry"


def test_what_is_begun_anew_as_it_expires_stays(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = put(store), sqlite.open()
    store.cancel(job.id, None)
    sqlite.clock.advance(24 * 3600 - 1)
    writing = store._writing

    def late() -> object:
        other.retry(job.id)
        monkeypatch.undo()
        return writing()

    monkeypatch.setattr(store, "_writing", late)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_now", lambda: sqlite.clock.now() + 1)
        store._expire_some()
    assert store.find(job.id, None).state == "queued"
    assert inputs(sqlite) == [b"{}"]


def test_counts_are_what_is_there(sqlite: StoreFolder, store: SqliteStore) -> None:
    """Whatever happened to jobs."""
    store.cancel(put(store, new(b"a" * 10)).id, None)
    claim = begun(store, bulk(4))
    store.report([Report(claim, [RIGHT, WRONG], "failed", FAILED)])
    done(store)
    release(store, begun(store), charged=True)
    begun(store)
    store.retry(claim.id)
    store.purge(["done"], 0)
    store.claim(OWNER, 1)
    with closing(sqlite3.connect(sqlite.file)) as connection:
        counted = connection.execute(
            "SELECT state, jobs, bytes FROM counts WHERE jobs AND state <> 'expired' ORDER BY state"
        ).fetchall()
        there = connection.execute(
            "SELECT state, count(*), sum(bytes) FROM jobs GROUP BY state ORDER BY state"
        ).fetchall()
        kept = connection.execute("SELECT sum(length(body)) FROM inputs").fetchall()
    assert counted == there
    assert kept == [(sum(size for _, _, size in there),)]
