"""What the supervisor does before anybody opens the store: lock, check, and make it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from inferctl.errors import StartError
from inferctl.jobs.sqlite.opening import DAMAGE, MEANINGS, NAME, beside, code_of, connect
from inferctl.jobs.sqlite.rows import queue
from inferctl.jobs.sqlite.schema import APPLICATION_ID, TABLES, VERSION

LOCK_NAME = "jobs.lock"
HEADER = b"SQLite format 3\0"
ELSEWHERE = "see to it, or name another folder as jobs.path"
# A job that was begun so often may be what ends whole services.
MANY_CLAIMS = 120
LEFT_BEGUN = "SELECT number FROM jobs WHERE state = 'running' AND fence < ?"


@dataclass(frozen=True, slots=True)
class Recreated:
    """A damaged store was put `aside`, and there is a new one; `why` is a clause."""

    aside: Path
    why: str


class StoreLock:
    """One server on a folder: who has taken it does what is in the store. It ends with the process
    that took it, whatever its children do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        os.register_at_fork(after_in_child=self.release)

    def take(self) -> bool:
        """Whether it is ours now; False when another server has it. Raises StartError."""
        if self._descriptor is not None:
            return True
        _make(self._folder)
        path = self._folder / LOCK_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._folder, str(error.strerror)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others take it. In a child it is the parent's still."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def prepare_store(folder: Path, strict: bool) -> Recreated | None:
    """Make a store, or check the one that is there, with the lock taken and nobody in it.

    A damaged one is put aside, under a name that says when, and a new one made; unless `strict`.
    Raises StartError for that, for a folder that cannot be used, and for a newer version's store.
    """
    _make(folder)
    path = folder / NAME
    try:
        why = _damage(path)
        if why and strict:
            raise StartError(
                f"the job store {why}", where=str(path),
                hint="restore it, or move it away; without jobs.strict_store a new one is made",
            )  # fmt: skip
        aside = _put_aside(path) if why else None
        if not path.exists():
            _create(path)
        with closing(connect(path)) as connection:
            _take_over(connection)
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from None
    except sqlite3.Error as error:
        what, _ = MEANINGS.get(code_of(error), (str(error), ""))
        raise StartError(f"the job store {what}", where=str(path), hint=ELSEWHERE) from None
    return Recreated(aside, why) if aside else None


def _take_over(connection: sqlite3.Connection) -> None:
    """Queue what the last service had begun; that all of it died is charged to none of its jobs.

    What was begun many times is left to the sweeps, which charge it.
    """
    connection.execute("BEGIN IMMEDIATE")
    # What waited for a moment, by a clock that may be of another boot.
    connection.execute("UPDATE jobs SET ready_s = 0 WHERE state = 'queued' AND ready_s > 0")
    for (number,) in connection.execute(LEFT_BEGUN, (MANY_CLAIMS,)).fetchall():
        queue(connection, number, charged=False)
    connection.execute("COMMIT")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, str(error.strerror)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable(folder, "it is not writable")


def _unusable(folder: Path, why: str) -> StartError:
    return StartError(
        f"cannot keep jobs there: {why}", where=str(folder),
        hint='name a writable folder as jobs.path, or say jobs.backend = "off"',
    )  # fmt: skip


def _damage(path: Path) -> str:
    """What is wrong with the files; "" if nothing is, or none is there."""
    if not path.exists():
        return "is gone, and its log is not" if any(map(Path.exists, beside(path))) else ""
    with path.open("rb") as file:
        header = file.read(len(HEADER))
    if not header:
        return "is empty"
    if header != HEADER:
        return "is no SQLite database"
    try:
        with closing(connect(path)) as connection:
            _check_version(connection, path)
            ((found,), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        if code_of(error) not in DAMAGE:
            raise
        return f"is damaged: {error}"
    return "" if found == "ok" else f"is damaged: {' '.join(found.split())}"


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    ((application,),) = connection.execute("PRAGMA application_id").fetchall()
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if application != APPLICATION_ID:
        raise StartError("the database is no job store", where=str(path), hint=ELSEWHERE)
    if version > VERSION:
        raise StartError(
            f"the job store is of version {version}, and this inferctl knows {VERSION}",
            where=str(path), hint="run the newer inferctl, or name another folder as jobs.path",
        )  # fmt: skip


def _put_aside(path: Path) -> Path:
    """The files together, as `jobs.sqlite3.damaged-20261127T043110Z`, `…-wal` and `…-shm`."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for file in (path, *beside(path)):
        if file.exists():
            file.rename(aside.with_name(aside.name + file.name.removeprefix(path.name)))
    return aside


def _create(path: Path) -> None:
    """Whole or not at all, and readable to its owner alone, as SQLite's own files beside it."""
    new = path.with_name(f"{path.name}.new")
    for left in (new, *beside(new)):
        left.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(connect(new)) as connection:
        connection.executescript(TABLES)
    new.rename(path)
