"""What a service finds where its jobs should be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from inferctl.errors import StartError
from inferctl.jobs.sqlite.opening import NAME
from inferctl.jobs.sqlite.preparation import MANY_CLAIMS, StoreLock, prepare_store
from inferctl.jobs.sqlite.schema import VERSION
from inferctl.jobs.sqlite.store import SqliteStore
from tests.jobs.made import OWNER, begun, bulk, end, put, release
from tests.jobs.sqlite.folder import StoreFolder

PAGE = 4096
HOLD = """
import sys
from pathlib import Path
from inferctl.jobs.sqlite.preparation import StoreLock
lock = StoreLock(Path(sys.argv[1]))
print(lock.take(), flush=True)
sys.stdin.read()
"""


def test_a_store_is_made_for_its_owner_alone_and_left_as_it_is(tmp_path: Path) -> None:
    folder = StoreFolder(tmp_path / "a" / "state")
    job = put(folder.open())
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir()}
    assert modes == dict.fromkeys((NAME, f"{NAME}-wal", f"{NAME}-shm"), 0o600)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert [path.name for path in folder.path.iterdir()] == [NAME], "its log is written to it"
    assert prepare_store(folder.path, strict=True) is None
    assert folder.open().find(job.id, None) == job
    folder.close()


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(20_000))


def wrong_header(file: Path) -> None:
    file.write_bytes(b"SQLite format 2\0" + file.read_bytes()[16:])


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def pages_of_ff(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[3 * PAGE : 7 * PAGE] = b"\xff" * (4 * PAGE)
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def without_file(file: Path) -> None:
    file.rename(file.with_name(f"{NAME}-wal"))


DAMAGES = [garbage, wrong_header, truncated, pages_of_ff, empty, without_file]


@pytest.mark.row(136)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_put_aside_and_a_new_one_made(
    damage: Callable[[Path], None], sqlite: StoreFolder
) -> None:
    put(sqlite.open(), bulk(2000))
    sqlite.close()
    damage(sqlite.file)
    (was,) = [path.read_bytes() for path in sqlite.path.iterdir()]

    recreated = prepare_store(sqlite.path, strict=False)
    assert recreated is not None
    assert recreated.why.startswith("is ")
    assert "\n" not in recreated.why
    kept = [path for path in sqlite.path.iterdir() if path.name.startswith(recreated.aside.name)]
    assert [path.read_bytes() for path in kept] == [was]
    put(sqlite.open())
    assert prepare_store(sqlite.path, strict=False) is None


@pytest.mark.row(136)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_strict_start_ends_and_touches_nothing(
    damage: Callable[[Path], None], sqlite: StoreFolder
) -> None:
    put(sqlite.open(), bulk(2000))
    sqlite.close()
    damage(sqlite.file)
    before = {path.name: path.read_bytes() for path in sqlite.path.iterdir()}
    with pytest.raises(StartError, match="restore it, or move it away") as caught:
        prepare_store(sqlite.path, strict=True)
    assert caught.value.exit_code == 3
    assert caught.value.where == str(sqlite.file)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in sqlite.path.iterdir()} == before


@pytest.mark.row(136)
def test_a_log_goes_with_its_file(sqlite: StoreFolder) -> None:
    """The new store would take what is in it for its own."""
    put(sqlite.open())
    wrong_header(sqlite.file)
    recreated = prepare_store(sqlite.path, strict=False)
    assert recreated is not None
    names = {path.name for path in sqlite.path.iterdir()}
    aside = recreated.aside.name
    assert names == {NAME, aside, f"{aside}-wal", f"{aside}-shm"}


def test_a_log_that_a_killed_process_left_is_part_of_the_store(sqlite: StoreFolder) -> None:
    pid = os.fork()
    if not pid:
        put(sqlite.open())
        os._exit(0)
    os.waitpid(pid, 0)
    assert (sqlite.path / f"{NAME}-wal").exists()
    assert prepare_store(sqlite.path, strict=True) is None
    assert len(sqlite.open().page(None, [], 9).jobs) == 1


@pytest.mark.parametrize(
    ("pragma", "text"),
    [
        (f"user_version = {VERSION + 1}", f"version {VERSION + 1}, and this inferctl knows"),
        ("application_id = 1", "no job store"),
    ],
)
def test_what_is_not_ours_is_left_alone(pragma: str, text: str, sqlite: StoreFolder) -> None:
    with closing(sqlite3.connect(sqlite.file)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    before = sqlite.file.read_bytes()
    with pytest.raises(StartError, match=text):
        prepare_store(sqlite.path, strict=False)
    assert sqlite.file.read_bytes() == before


@pytest.mark.row(120)
@pytest.mark.parametrize("folder", ["/proc/state", "{tmp}/file", "{tmp}/file/state"])
def test_a_folder_that_cannot_be_used_ends_the_start_in_a_line(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = Path(folder.format(tmp=tmp_path))
    for use in (lambda: prepare_store(path, strict=False), StoreLock(path).take):
        with pytest.raises(StartError, match="cannot keep jobs there") as caught:
            use()
        assert caught.value.where == str(path)
        assert "\n" not in str(caught.value)


@pytest.mark.row(120)
def test_so_does_one_on_a_disk_that_is_read_only(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(tmp_path)], check=True))
    with pytest.raises(StartError, match="not writable"):
        prepare_store(tmp_path, strict=False)


def test_a_pause_does_not_outlive_a_start(sqlite: StoreFolder, store: SqliteStore) -> None:
    """It was set by a clock that began with the boot."""
    claim = begun(store)
    release(store, claim, 600, charged=True)
    sqlite.close()
    prepare_store(sqlite.path, strict=True)
    assert len(sqlite.open().claim(store._here, 1)) == 1


@pytest.mark.row(132)
def test_what_a_dead_service_had_begun_is_queued_at_no_charge(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    claim = begun(store)
    revision = store.find(claim.id, None).revision
    sqlite.close()
    prepare_store(sqlite.path, strict=True)
    after = sqlite.open()
    found = after.find(claim.id, None)
    assert (found.state, found.attempts) == ("queued", 0)
    assert found.revision > revision
    assert not end(after, claim, "done"), "its claim is over"


def test_unless_it_was_begun_so_often_that_it_may_be_the_cause(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    claim = begun(store)
    for fence in range(2, MANY_CLAIMS + 1):
        sqlite.close()
        prepare_store(sqlite.path, strict=True)
        (claim,) = sqlite.open().claim(OWNER, 1)
        assert claim.fence == fence
    sqlite.close()
    prepare_store(sqlite.path, strict=True)
    found = sqlite.open().find(claim.id, None)
    assert (found.state, found.attempts) == ("running", 1)


@pytest.mark.row(138)
def test_one_server_has_a_folder_until_it_ends(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        assert not lock.take()
        other.kill()
        other.communicate()
        assert lock.take()
    assert lock.take(), "it is ours already"
    assert not StoreLock(tmp_path).take()
    lock.release()
    assert StoreLock(tmp_path).take()


@pytest.mark.row(138)
def test_children_do_not_keep_the_folder(tmp_path: Path) -> None:
    """An engine may live for seconds longer than the supervisor that was killed."""
    lock = StoreLock(tmp_path)
    assert lock.take()
    begins, ends = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ends[1])
        os.write(begins[1], b"x")
        os.read(ends[0], 1)
        os._exit(0)
    os.read(begins[0], 1)
    lock.release()
    assert StoreLock(tmp_path).take()
    for descriptor in (*begins, *ends):
        os.close(descriptor)
    os.waitpid(pid, 0)
