"""Owners that die, clocks that are set, and what is forgotten by and by."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.jobs.job import Owner, Report, Result
from inferctl.jobs.sqlite import database, sweeping
from inferctl.jobs.sqlite.opening import LOG
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.sqlite.turn import Turn
from inferctl.jobs.store import StoreUnavailable
from inferctl.refusals import Gone, NotFound
from tests.jobs.clock import Clock
from tests.jobs.made import OWNER, RIGHT, begun, bulk, done, new, put, release, swept
from tests.jobs.sqlite.asker import Asker
from tests.jobs.sqlite.folder import StoreFolder

HOUR_S = 3600
DAY_S = 24 * HOUR_S
DEAD = replace(OWNER, born_ticks=OWNER.born_ticks - 1)


def claimed(store: SqliteStore, owner: Owner) -> str:
    put(store)
    (claim,) = store.claim(owner, 1)
    return claim.id


@pytest.mark.row(133)
@pytest.mark.parametrize(
    "owner",
    [
        DEAD,
        replace(DEAD, pid=1 << 30),
        replace(OWNER, boot="earlier"),
        replace(OWNER, boot="earlier", node="a container that is made anew with each boot"),
    ],
)
def test_what_the_dead_had_is_queued_again_at_once(
    owner: Owner, sqlite: StoreFolder, store: SqliteStore
) -> None:
    job_id = claimed(store, owner)
    kept = claimed(store, OWNER)
    assert store.sweep().redelivered == 1
    sqlite.clock.advance(1)
    assert [(one.id, one.attempt) for one in store.claim(OWNER, 9)] == [(job_id, 2)]
    assert store.find(kept, None).state == "running"


@pytest.mark.row(133)
def test_what_a_killed_process_had_is_queued_again_before_its_lease_ends(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    ids = [put(store).id for _ in range(3)]
    with Asker(sqlite.path) as other:
        assert other.ask("claim 2") == f"{ids[0]} {ids[1]}"
        assert store.sweep().redelivered == 0
        other.process.kill()
        other.process.wait()
        assert store.sweep().redelivered == 2
    sqlite.clock.advance(1)
    assert [claim.id for claim in store.claim(OWNER, 9)] == ids


@pytest.mark.row(135)
@pytest.mark.parametrize("max_attempts", [2, 3, 5])
def test_what_kills_its_worker_fails_and_what_was_done_beside_it_does_not(
    max_attempts: int, sqlite: StoreFolder
) -> None:
    store = sqlite.open(max_attempts=max_attempts)
    poison, *innocent = [put(store).id for _ in range(5)]
    for _ in range(20):
        claims = store.claim(DEAD, 9)
        if poison not in [claim.id for claim in claims]:
            store.report([Report(claim, [RIGHT], "done") for claim in claims])
        store.sweep()
        sqlite.clock.advance(60)
    assert store.find(poison, None).state == "failed"
    assert {store.find(job_id, None).state for job_id in innocent} == {"done"}


@pytest.mark.row(135)
def test_a_last_attempt_waits_until_it_is_the_oldest(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    jobs = [put(store).id for _ in range(4)]
    for _ in range(2):
        release(store, store.claim(OWNER, 1, only=jobs[1])[0], charged=True)
    assert [claim.id for claim in store.claim(OWNER, 9)] == [jobs[0], *jobs[2:]]
    assert [(claim.id, claim.is_last) for claim in store.claim(OWNER, 9)] == [(jobs[1], True)]


def test_with_one_attempt_each_jobs_are_begun_together(sqlite: StoreFolder) -> None:
    store = sqlite.open(max_attempts=1)
    jobs = [put(store).id for _ in range(3)]
    assert [claim.id for claim in store.claim(OWNER, 9)] == jobs


def test_whether_an_owner_lives_is_asked_once_however_much_it_does(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        claimed(store, OWNER)
    asked: list[Owner] = []
    monkeypatch.setattr(sweeping, "is_gone", lambda owner, _: asked.append(owner))
    store.sweep()
    assert asked == [OWNER]


def test_what_its_worker_died_of_is_let_be_for_longer_and_longer(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    job_id = claimed(store, DEAD)
    for pause_s in (1, 4):
        assert store.sweep().redelivered == 1
        sqlite.clock.advance(pause_s - 0.1)
        assert store.claim(DEAD, 9) == []
        sqlite.clock.advance(0.1)
        assert [claim.id for claim in store.claim(DEAD, 9)] == [job_id]


def test_a_process_on_another_node_has_its_lease(sqlite: StoreFolder, store: SqliteStore) -> None:
    claimed(store, replace(DEAD, node="a container with processes of its own"))
    assert store.sweep().redelivered == 0
    sqlite.clock.advance(16)
    assert store.sweep().redelivered == 1


@pytest.mark.row(134)
def test_who_was_stopped_past_his_lease_comes_too_late(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    job = put(store)
    with Asker(sqlite.path) as other:
        # It goes by the machine's clock, which is not this one's.
        sqlite.clock.advance(1e9)
        assert other.ask("claim 1") == job.id
        os.kill(other.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, other.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert store.sweep().redelivered == 1
        sqlite.clock.advance(1)
        (claim,) = store.claim(OWNER, 1)
        store.report([Report(claim, [Result(0, 200, b"of another")], "done")])
        before = store.find(job.id, None)

        other.tell("end")
        os.kill(other.process.pid, signal.SIGCONT)
        assert other.answer() == "1 lost"
    assert store.find(job.id, None) == before
    assert [one.body for one in store.results(job.id, None, 0, 9)] == [b"of another"]


@pytest.mark.parametrize("step_s", [5 * HOUR_S, -5 * HOUR_S, 400 * DAY_S])
def test_leases_and_pauses_do_not_heed_a_clock_that_is_set(
    step_s: float, sqlite: StoreFolder, store: SqliteStore
) -> None:
    claimed(store, OWNER)
    paused = begun(store)
    release(store, paused, 10, charged=True)
    sqlite.clock.step(step_s)
    assert store.sweep().redelivered == 0
    assert store.claim(OWNER, 9) == []
    sqlite.clock.advance(10)
    assert [claim.id for claim in store.claim(OWNER, 9)] == [paused.id]
    sqlite.clock.advance(5)
    assert store.sweep().redelivered == 1


def test_whoever_renews_while_others_look_keeps_his_job(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = begun(store)
    sqlite.clock.advance(16)
    is_late = sweeping.Sweeping._is_late

    def renewed(self: SqliteStore, held: sweeping.Held) -> bool:
        late = is_late(self, held)
        sqlite.open().keep([claim])
        return late

    monkeypatch.setattr(sweeping.Sweeping, "_is_late", renewed)
    assert store.sweep().redelivered == 0
    assert store.keep([claim]) == set()


@pytest.mark.row(127)
def test_who_could_not_renew_his_lease_since_nobody_could_use_the_store_has_time_to(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for ever, and the dead have none."""
    clock = held_up(monkeypatch)
    claim = begun(store)
    claimed(store, DEAD)
    sqlite.clock.advance(16)
    monkeypatch.setattr(database, "BUSY_S", 0)
    with Turn(sqlite.path).taken(0), pytest.raises(StoreUnavailable):
        store.keep([claim])
    assert store.sweep().redelivered == 1, "of the dead"
    for _ in range(2):
        clock.advance(4.9)
        assert store.sweep().redelivered == 0
    clock.advance(0.3)
    assert store.sweep().redelivered == 1
    assert store.keep([claim]) == {claim.id}


def test_after_a_pause_of_the_machine_owners_have_time_to_renew_their_leases(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = held_up(monkeypatch)
    claim = begun(store)
    sqlite.clock.advance(600)
    clock.advance(600)
    assert store.sweep().redelivered == 0
    clock.advance(4)
    assert store.keep([claim]) == set()
    clock.advance(6.1)
    assert store.sweep().redelivered == 0


def held_up(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which stores know that they were."""
    clock = Clock()
    monkeypatch.setattr(database, "boottime_s", clock.steady)
    monkeypatch.setattr(sweeping, "boottime_s", clock.steady)
    return clock


@pytest.mark.row(142)
def test_that_a_job_expired_is_known_for_a_week(sqlite: StoreFolder, store: SqliteStore) -> None:
    job_id = done(store)
    sqlite.clock.advance(DAY_S)
    assert store.sweep().expired == 1
    sqlite.clock.advance(7 * DAY_S - 1)
    swept(store)
    with pytest.raises(Gone):
        store.find(job_id, "alice")
    assert store.sweep().by_state["expired"] == 1
    sqlite.clock.advance(1)
    swept(store)
    with pytest.raises(NotFound):
        store.find(job_id, "alice")
    assert store.sweep().by_state["expired"] == 0


def test_much_is_forgotten_in_small_parts(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that took long would hold up those who ask."""
    claim = begun(store, bulk(1300))
    store.report([Report(claim, [Result(number, 200, b"x") for number in range(1300)], "done")])
    done(store)
    sqlite.clock.advance(DAY_S)
    monkeypatch.setattr(sweeping, "SWEEP_S", 0)
    found = [store.sweep() for _ in range(4)]
    assert [one.expired for one in found] == [0, 0, 2, 0]
    assert [one.unfinished for one in found] == [True, True, True, False]
    assert store.sweep().by_state["done"] == 0


def size_bytes(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.row(191)
def test_the_file_shrinks_when_jobs_are_forgotten(sqlite: StoreFolder, store: SqliteStore) -> None:
    for _ in range(10):
        store.submit([new(b"x" * 100_000) for _ in range(10)])
    for claim in store.claim(OWNER, 100):
        store.report([Report(claim, [Result(0, 200, b"y" * 50_000)], "done")])
    sqlite.close()
    before = size_bytes(sqlite.file)
    store = sqlite.open()
    swept(store)
    sqlite.clock.advance(DAY_S)
    swept(store)
    sqlite.close()
    assert before > 5_000_000
    assert size_bytes(sqlite.file) < 1_500_000


def test_it_shrinks_a_little_at_a_time_while_jobs_are_open(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved costs those who wait, and what is free is used again. The log is not."""
    store.submit([new(b"x" * 50_000) for _ in range(100)])
    for claim in store.claim(OWNER, 100):
        store.report([Report(claim, [Result(0, 200, b"{}")], "done")])
    put(store)
    pages = free_pages(sqlite.file)
    assert pages > 1000
    assert not store.sweep().unfinished
    assert 0 < pages - free_pages(sqlite.file) <= 256
    monkeypatch.setattr("inferctl.jobs.sqlite.database.LOG_BYTES", 50_000)
    assert not store.sweep().unfinished
    assert size_bytes(sqlite.file.with_name(sqlite.file.name + LOG)) == 0


def free_pages(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        ((count,),) = database.execute("PRAGMA freelist_count").fetchall()
    return int(count)


@pytest.mark.row(191)
def test_a_log_that_readers_kept_long_is_written_back(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sqlite.file.with_name(sqlite.file.name + LOG)
    put(store, new(b"x" * 100_000))
    swept(store)
    assert size_bytes(log) > 100_000
    monkeypatch.setattr("inferctl.jobs.sqlite.database.LOG_BYTES", 50_000)
    swept(store)
    assert size_bytes(log) == 0
