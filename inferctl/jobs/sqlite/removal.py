"""What is forgotten: in small transactions, so that nobody waits long for any of them."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

from inferctl.jobs.job import State
from inferctl.jobs.sqlite.database import Database
from inferctl.jobs.sqlite.rows import end, spots
from inferctl.jobs.store import StoreUnavailable

# One transaction removes no more than about so much.
SOME_ROWS, SOME_BYTES = 500, 4 * 1024 * 1024

NEEDS_NONE = "SELECT 1 FROM jobs WHERE number = ? AND ended_s IS NOT NULL AND bytes = 0"
DUE = "SELECT number FROM jobs WHERE expires_s <= ? ORDER BY expires_s LIMIT ?"


class Removal(Database):
    """Ends jobs, and removes what is over."""

    def _end(
        self, connection: sqlite3.Connection, number: int, state: State,
        problem: dict[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """See `rows.end`."""
        settings = self._settings
        return end(
            connection, number, state, problem, self._now(), settings.keep_h * 3600,
            settings.max_bytes,
        )  # fmt: skip

    def _forget_inputs(self, number: int) -> None:
        """Of a job that needs them no more. If this is cut off, they go when it expires: whoever
        ended the job is not told that the store failed, for that was done."""
        removing = True
        with suppress(StoreUnavailable):
            while removing:
                with self._writing() as connection:
                    # It may have been begun anew meanwhile.
                    is_over = connection.execute(NEEDS_NONE, (number,)).fetchone() is not None
                    removing = is_over and bool(_remove(connection, "inputs", number)[0])
                self._let_others()

    def _expire_some(self) -> int | None:
        """Forget results whose time is over, and leave a tombstone for each job: of how many, which
        is 0 where only a part of a large one was removed, None where there is none."""
        now_s = self._now()
        buried = 0
        with self._reading() as connection:
            if not connection.execute(DUE, (now_s, 1)).fetchall():
                return None
        with self._writing() as connection:
            # Those that were begun anew meanwhile are not.
            due = connection.execute(DUE, (now_s, SOME_ROWS)).fetchall()
            left_bytes = SOME_BYTES
            for (number,) in due:
                for table in ("inputs", "results"):
                    rows, size_bytes = _remove(connection, table, number)
                    left_bytes -= size_bytes
                    if rows >= SOME_ROWS or left_bytes <= 0:
                        return buried
                buried += _bury(connection, number, now_s)
        return buried


def _remove(connection: sqlite3.Connection, table: str, number: int) -> tuple[int, int]:
    """The first bodies of a job, as many as go in one transaction: their number and bytes."""
    rows = size_bytes = 0
    first, beyond = last, _ = spots(number)
    for spot, body_bytes in connection.execute(
        f"SELECT spot, length(body) FROM {table} WHERE spot >= ? AND spot < ? LIMIT ?",
        (first, beyond, SOME_ROWS),
    ).fetchall():
        last = spot
        rows += 1
        size_bytes += body_bytes
        if size_bytes > SOME_BYTES:
            break
    if rows:
        connection.execute(f"DELETE FROM {table} WHERE spot >= ? AND spot <= ?", (first, last))
    return rows, size_bytes


def _bury(connection: sqlite3.Connection, number: int, now_s: float) -> int:
    """A job is gone, and known to have been; False if another process did it."""
    connection.execute(
        "INSERT INTO tombstones (id, key, expired_s) SELECT id, key, ? FROM jobs WHERE number = ?",
        (now_s, number),
    )
    return connection.execute("DELETE FROM jobs WHERE number = ?", (number,)).rowcount
