"""A connection to the store, and the only two ways to use it: to read, and to write."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inferctl.deferral import JobsSettings
from inferctl.jobs.owners import boottime_s, this_process
from inferctl.jobs.sqlite.opening import (
    BUSY_S,
    DAMAGE,
    HARMLESS,
    LOG_BYTES,
    NAME,
    beside,
    close,
    code_of,
    connect,
    is_ours,
    replaced,
    unavailable,
)
from inferctl.jobs.sqlite.turn import LOOK_EVERY_S, Turn
from inferctl.jobs.store import StoreUnavailable

# For so long after one was told that it is locked, others are told sooner: they wait in a line.
IN_A_HURRY_FOR_S, HURRIED_BUSY_S = 1.0, 0.05
# Whoever does not use it for so long, or half a lease, was held up.
LEAST_GAP_S = 5.0
# Who a file is, whatever its name.
Identity = tuple[int, int]


class Database:
    """What every part of the store stands on.

    Results expire by `now`, seconds since 1970, which may step; leases and pauses end by `steady`,
    seconds since the machine booted, which do not. After an error of the disk the next use opens
    it again. A damaged file stays unavailable, and so do files that are not those that were opened:
    another process may still have them open, and two logs of one file would ruin it.
    """

    def __init__(
        self, folder: Path, settings: JobsSettings, now: Callable[[], float] = time.time,
        steady: Callable[[], float] = boottime_s,
    ) -> None:  # fmt: skip
        """Raises StoreUnavailable."""
        self._path = folder / NAME
        self._log, self._index = beside(self._path)
        self._settings = settings
        self._now, self._steady = now, steady
        self._here = this_process()
        self._damage = 0
        self._in_a_hurry_until_s = 0.0
        # Since when it could be used, by the machine's clock, and when it was used last.
        self._well_since_s = self._used_s = boottime_s()
        self._connection: sqlite3.Connection | None = None
        self._files: tuple[Identity | None, ...] = ()
        try:
            self._turn = Turn(folder)
        except OSError:
            raise unavailable(sqlite3.SQLITE_CANTOPEN) from None
        try:
            with self._reading():
                pass
        except StoreUnavailable:
            self._turn.close()
            raise

    def close(self) -> None:
        """Let go of it. The last one to do so writes what is in the log to the file."""
        with suppress(TimeoutError), self._turn.taken(BUSY_S):
            self._drop()
        self._drop()
        self._turn.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """To ask what is there; each statement sees one state of it."""
        with self._told():
            if self._connection is None:
                with self._turn.taken(BUSY_S):
                    self._open()
            yield self._opened()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """What is done in the block has happened afterwards, or has not if it raised."""
        wait_s = self._wait_s()
        with self._told(), self._turn.taken(wait_s):
            connection = self._opened()
            connection.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                self._in_a_hurry_until_s = 0.0
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _shorten_log(self) -> None:
        """Write it to the file if it is long: readers may have kept it from being used again."""
        with self._told(), self._turn.taken(BUSY_S):
            connection = self._opened()
            if self._log.stat().st_size > LOG_BYTES:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _wait_s(self) -> float:
        """For whoever writes now."""
        return BUSY_S if time.monotonic() >= self._in_a_hurry_until_s else HURRIED_BUSY_S

    def _let_others(self) -> None:
        """Between two transactions of many: whoever waits for his turn looks for it meanwhile."""
        time.sleep(2 * LOOK_EVERY_S)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong is told as StoreUnavailable, and remembered."""
        now_s = boottime_s()
        if now_s - self._used_s > max(self._settings.lease_s / 2, LEAST_GAP_S):
            self._well_since_s = now_s  # this process was held up, and others maybe with it
        self._used_s = now_s
        try:
            with self._understood():
                yield
        except StoreUnavailable:
            self._well_since_s = boottime_s()
            raise

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Errors of SQLite become what clients are told; those of our statements stay."""
        try:
            yield
        except TimeoutError:
            self._hurry()
            raise unavailable(sqlite3.SQLITE_BUSY) from None
        except OSError:  # of the folder's lock, or the log that was deleted just now
            raise unavailable(sqlite3.SQLITE_IOERR) from None
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.Error as error:
            code = code_of(error)
            if code == sqlite3.SQLITE_BUSY:
                self._hurry()
            if code in DAMAGE:
                self._damage = code
            if code not in HARMLESS:
                self._drop()
            raise unavailable(code) from None

    def _hurry(self) -> None:
        self._in_a_hurry_until_s = time.monotonic() + IN_A_HURRY_FOR_S

    def _opened(self) -> sqlite3.Connection:
        """The connection, while it is one to the files that are there."""
        if self._connection is None:
            return self._open()
        if self._files != self._identities():
            raise replaced()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        """In its turn, for what others open or close has its log and the index of it, or neither.

        One without the other was deleted, and those who opened it before use it still.
        """
        if self._damage:
            raise unavailable(self._damage)
        file, log, index = self._identities()
        is_same = file is not None and file == (self._files or (file,))[0]
        if not is_same or (log is None) != (index is None):
            raise replaced()
        connection = connect(self._path)
        if not is_ours(connection):
            close(connection)
            raise replaced()
        self._connection, self._files = connection, self._identities()
        return connection

    def _identities(self) -> tuple[Identity | None, ...]:
        return _identity(self._path), _identity(self._log), _identity(self._index)

    def _drop(self) -> None:
        if self._connection is not None:
            close(self._connection)
        self._connection = None


def _identity(path: Path) -> Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
