"""Processes that are killed while they write: what was taken in is there, and the file is sound."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from inferctl.jobs.job import TERMINAL, Report
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.refusals import Gone
from tests.jobs.made import OWNER, RIGHT, swept
from tests.jobs.sqlite.asker import Asker
from tests.jobs.sqlite.folder import StoreFolder

SEED = 145


def kill_writers(folder: StoreFolder, dice: random.Random, most: int) -> set[str]:
    """Two of them, together, at some moment; the ids that they had said were in."""
    taken = set()
    store = folder.open(max_jobs=1_000_000)
    with Asker(folder.path) as one, Asker(folder.path) as other:
        one.tell("write")
        other.tell("write")
        for _ in range(dice.randrange(5, most)):
            for writer in (one, other):
                taken.add(writer.answer())
                assert store.find(max(taken), None).key == "alice"
        one.process.kill()
        other.process.kill()
        for writer in (one, other):
            while said := writer.answer():
                taken.add(said)
    return taken


def assert_all_is_there(folder: StoreFolder, taken: set[str]) -> None:
    store = folder.open(max_jobs=1_000_000)
    with closing(sqlite3.connect(folder.file)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    swept(store)
    found = [store.find(job_id, None) for job_id in taken]
    assert {job.state for job in found} <= {"queued", "done"}
    assert all(len(store.results(job.id, None, 0, 9)) == (job.state == "done") for job in found)


@pytest.mark.row(145)
def test_what_was_taken_in_is_there_after_its_takers_were_killed(sqlite: StoreFolder) -> None:
    dice = random.Random(SEED)
    taken: set[str] = set()
    for _ in range(3):
        taken |= kill_writers(sqlite, dice, most=20)
        assert_all_is_there(sqlite, taken)
    sqlite.close()
    assert prepare_store(sqlite.path, strict=True) is None


@pytest.mark.faults
@pytest.mark.row(145)
def test_a_file_stays_sound_however_often_its_writers_are_killed(sqlite: StoreFolder) -> None:
    """And others poll and purge meanwhile."""
    dice = random.Random(SEED)
    taken: set[str] = set()
    purged = 0
    for _ in range(100):
        taken |= kill_writers(sqlite, dice, most=60)
        assert_all_is_there(sqlite, taken)
        sqlite.clock.advance(60)  # those who write go by the machine's
        store = sqlite.open()
        for claim in store.claim(OWNER, 20):
            store.report([Report(claim, [RIGHT], "done")])
        gone = store.purge(TERMINAL, 0)
        taken = {job_id for job_id in taken if not is_gone(store, job_id)}
        purged += gone
        assert gone
        sqlite.close()
        assert prepare_store(sqlite.path, strict=True) is None
    assert sqlite.open().sweep().by_state["expired"] == purged


def is_gone(store: SqliteStore, job_id: str) -> bool:
    try:
        store.find(job_id, None)
    except Gone:
        return True
    return False
