"""Where the file is, how a connection is opened, and what its errors mean to whoever asks."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from inferctl.jobs.sqlite.schema import APPLICATION_ID, VERSION
from inferctl.jobs.store import StoreUnavailable

NAME = "jobs.sqlite3"
# What belongs to a database that is open, or whose last process was killed.
LOG, INDEX = "-wal", "-shm"
# Whoever waits for another process' transaction longer than this is told so.
BUSY_S = 2.0
# Written back to the file after so many pages (16 MiB), and no longer on disk than this afterwards.
CHECKPOINT_PAGES = 4096
LOG_BYTES = 32 * 1024 * 1024

# What is meant for whoever runs the service: it is what a client is told too.
MENDED_BY_RESTART = "restart the service: it checks its store"
MEANINGS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "retry; end what holds the lock"),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", "retry; end what holds the lock"),
    sqlite3.SQLITE_FULL: ("has no space left on its disk", "free some: it is used at once"),
    sqlite3.SQLITE_IOERR: ("could not be read or written", "see to its disk, and free space"),
    sqlite3.SQLITE_READONLY: ("is read-only", "see to the permissions of its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "see to the permissions of its folder"),
    sqlite3.SQLITE_PERM: ("cannot be opened", "see to the permissions of its folder"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", MENDED_BY_RESTART),
    sqlite3.SQLITE_NOTADB: ("is damaged", MENDED_BY_RESTART),
}
DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
# After these a connection is as good as before.
HARMLESS = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL))


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where an error is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def unavailable(code: int) -> StoreUnavailable:
    """What those hear who asked, when SQLite says `code`."""
    what, hint = MEANINGS.get(code, ("cannot be used", MENDED_BY_RESTART))
    return StoreUnavailable(f"the job store {what}", hint=hint)


def replaced() -> StoreUnavailable:
    """Its files are not those that were opened: what is written now, nobody would find again."""
    return StoreUnavailable(
        "files of the job store were deleted or replaced", hint=MENDED_BY_RESTART
    )


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that exists. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        close(connection)
        raise
    return connection


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether it has the tables that this version knows."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(application == APPLICATION_ID and version == VERSION)


def close(connection: sqlite3.Connection) -> None:
    """Whatever state it is in."""
    with suppress(sqlite3.Error):
        connection.close()


def beside(path: Path) -> tuple[Path, Path]:
    """The log and its index, which belong to the file."""
    return path.with_name(path.name + LOG), path.with_name(path.name + INDEX)
