"""A store whose file is damaged, taken away or locked while it is used."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Report, Result
from inferctl.jobs.sqlite import database, opening
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.sqlite.turn import Turn
from inferctl.jobs.store import StoreUnavailable
from tests.jobs.made import OWNER, RIGHT, begun, bulk, done, new, put
from tests.jobs.sqlite.folder import StoreFolder


def assert_unavailable(store: SqliteStore, what: str, job_id: str = "0" * 32) -> None:
    """Whatever is asked, and in a line that says what to do."""
    asked = (
        lambda: store.submit([new()]),
        lambda: store.find(job_id, None),
        lambda: store.page(None, [], 9),
        lambda: store.claim(OWNER, 1),
        store.sweep,
    )
    for ask in asked:
        with pytest.raises(StoreUnavailable, match=what) as caught:
            ask()
        assert caught.value.status == 503
        assert caught.value.hint
        assert "\n" not in str(caught.value)


@pytest.mark.row(137)
def test_a_file_that_is_overwritten_is_damaged_until_a_restart(sqlite: StoreFolder) -> None:
    put(sqlite.open(), bulk(2000))
    sqlite.close()
    store = sqlite.open()
    sound = sqlite.file.read_bytes()
    sqlite.file.write_bytes(sound[:4096] + b"\xff" * (len(sound) - 4096))

    with pytest.raises(StoreUnavailable, match="is damaged"):
        store.page(None, [], 9)
    sqlite.file.write_bytes(sound)
    assert_unavailable(store, "is damaged")
    sqlite.close()
    assert prepare_store(sqlite.path, strict=True) is None
    put(sqlite.open())


@pytest.mark.row(137)
@pytest.mark.parametrize("suffix", ["", opening.LOG, opening.INDEX])
def test_files_that_are_deleted_are_missed_and_nothing_is_written_any_more(
    suffix: str, sqlite: StoreFolder
) -> None:
    store = sqlite.open()
    job = put(store)
    file = sqlite.file.with_name(sqlite.file.name + suffix)
    moved = file.rename(sqlite.path / "elsewhere")
    assert_unavailable(store, "deleted or replaced")
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        sqlite.open()
    moved.rename(file)
    assert store.find(job.id, None) == job, "it was put back"


@pytest.mark.row(137)
def test_a_log_that_is_deleted_is_not_lost_where_the_service_ends_well(
    sqlite: StoreFolder,
) -> None:
    store = sqlite.open()
    job = put(store)
    sqlite.file.with_name(f"{sqlite.file.name}-wal").unlink()
    assert_unavailable(store, "deleted or replaced")
    sqlite.close()
    assert prepare_store(sqlite.path, strict=True) is None
    assert sqlite.open().find(job.id, None) == job


@pytest.mark.row(137)
def test_a_file_that_is_replaced_waits_for_a_restart(sqlite: StoreFolder) -> None:
    """Others may write to the old one, and its log lies beside the new one."""
    store = sqlite.open()
    put(store)
    copy = shutil.copy(sqlite.file, sqlite.path / "copy")
    Path(copy).rename(sqlite.file)
    assert_unavailable(store, "deleted or replaced")


def test_what_is_not_there_or_not_ours_is_not_opened(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoreUnavailable):
            SqliteStore(folder, JobsSettings())
    with closing(sqlite3.connect(tmp_path / opening.NAME)) as connection:
        connection.execute("CREATE TABLE jobs (id)")
    with pytest.raises(StoreUnavailable):
        SqliteStore(tmp_path, JobsSettings())


@pytest.mark.row(138)
def test_a_stray_lock_is_waited_for_two_seconds_and_jobs_are_read_meanwhile(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    job = put(store)
    with closing(sqlite3.connect(sqlite.file, isolation_level=None)) as stray:
        stray.execute("BEGIN EXCLUSIVE")
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked by another process") as caught:
            store.submit([new()])
        assert 1.9 < time.monotonic() - began_s < 4
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            store.submit([new()])
        assert time.monotonic() - began_s < 1, "others wait in a line for its answer"
        assert caught.value.retry_after_s > 0
        assert store.find(job.id, None) == job
        stray.execute("COMMIT")
    put(store)


@pytest.mark.row(138)
def test_whoever_is_stopped_while_it_writes_holds_others_up_for_so_long_only(
    sqlite: StoreFolder, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    with Turn(sqlite.path).taken(0):
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            store.submit([new()])
        assert store.page(None, [], 9).jobs == []
    put(store)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[StoreFolder]:
    """A store on a disk of a MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(disk)]
    if subprocess.run(size, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    folder = StoreFolder(disk)
    try:
        yield folder
    finally:
        folder.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.row(127)
def test_on_a_full_disk_nothing_is_taken_in_and_nothing_is_lost(small: StoreFolder) -> None:
    store = small.open()
    claim = begun(store)
    taken = [claim.id]
    ballast = small.path / "ballast"
    fill(ballast)
    with pytest.raises(StoreUnavailable, match="no space left") as caught:
        taken.extend(put(store, new(b"x" * 5000)).id for _ in range(1000))
    assert caught.value.retry_after_s > 0
    assert caught.value.hint
    with pytest.raises(StoreUnavailable):
        store.report([Report(claim, [Result(0, 200, b"x" * 50_000)], "done")])
    assert store.find(claim.id, None).state == "running"
    assert_sound(small)

    ballast.unlink()
    assert store.report([Report(claim, [RIGHT], "done")]) == set()
    taken.append(put(store).id)
    assert {job.id for job in store.page(None, [], 999).jobs} == set(taken)
    assert_sound(small)


@pytest.mark.row(127)
def test_a_file_that_may_not_grow_is_a_full_disk(sqlite: StoreFolder, store: SqliteStore) -> None:
    """As `ulimit -f` has it, where nothing can be mounted."""
    job_id = done(store)
    with store._reading() as connection:
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnavailable, match="no space left"):
            store.submit([bulk(2000)])
        assert store.find(job_id, None).state == "done"
        connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    put(store, bulk(2000))
    assert_sound(sqlite)


@pytest.mark.row(127)
def test_after_an_error_of_its_disk_the_store_is_opened_again(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    """Here, of a file that reached the size that this process may write."""
    taken = [put(store).id]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreUnavailable, match="could not be read or written"):
            taken.extend(put(store, new(b"x" * 5000)).id for _ in range(1000))
        assert store.find(taken[-1], None).state == "queued"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    taken.append(put(store).id)
    assert {job.id for job in sqlite.open().page(None, [], 999).jobs} == set(taken)
    assert_sound(sqlite)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def assert_sound(folder: StoreFolder) -> None:
    with closing(sqlite3.connect(folder.file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
