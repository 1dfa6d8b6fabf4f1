"""What those ask who do jobs. Whose claim is not the last one of a job changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from inferctl.jobs.job import Claim, Item, Owner, Result
from inferctl.jobs.sqlite.removal import Removal
from inferctl.jobs.sqlite.rows import CLAIM, blob, claim_of, spots

HOWEVER_OFTEN = 1 << 62
# A pause is over.
DUE = "state = 'queued' AND ready_s > 0 AND ready_s <= :steady"
WAITING = f"""
SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND ready_s = 0)
    OR EXISTS (SELECT 1 FROM jobs WHERE {DUE})
"""
WAKE = f"UPDATE jobs SET ready_s = 0 WHERE {DUE}"
FIRST = """
SELECT attempts FROM jobs WHERE state = 'queued' AND ready_s = 0 ORDER BY number LIMIT 1
"""
BEGIN = f"""
UPDATE jobs SET state = 'running', attempts = attempts + 1, fence = fence + 1,
    revision = revision + 1, started_s = coalesce(started_s, :now), node = :node, boot = :boot,
    pid = :pid, born_ticks = :born_ticks, lease_ends_s = :lease_ends_s
WHERE number IN (
    SELECT number FROM (
        SELECT number, attempts FROM jobs WHERE state = 'queued' AND ready_s = 0 {{only}}
        ORDER BY number LIMIT :limit
    ) WHERE attempts <= :most
) RETURNING number, {CLAIM}
"""
BEGIN_ANY, BEGIN_ONE = BEGIN.format(only=""), BEGIN.format(only="AND id = :only")
# Of a job whose last claim is that one.
HELD = "id = ? AND fence = ? AND state = 'running'"
ITEMS = """
SELECT spot, body FROM inputs WHERE spot >= ? AND spot < ?
    AND NOT EXISTS (SELECT 1 FROM results WHERE results.spot = inputs.spot)
ORDER BY spot LIMIT ?
"""
PROGRESS = """
UPDATE jobs SET done_items = done_items + ?, failed_items = failed_items + ?, bytes = bytes - ?,
    revision = revision + 1
WHERE number = ?
"""


class Doing(Removal):
    """Claims jobs, and reads what is to be done."""

    def claim(self, owner: Owner, limit: int, only: str = "") -> list[Claim]:
        """See `Store.claim`. Who finds nothing takes no lock."""
        due = {"steady": self._steady()}
        with self._reading() as connection:
            ((waiting,),) = connection.execute(WAITING, due).fetchall()
        if not waiting:
            return []
        begun = {
            "now": self._now(), "node": owner.node, "boot": owner.boot, "pid": owner.pid,
            "born_ticks": owner.born_ticks, "lease_ends_s": self._lease_ends_s(),
            "limit": limit, "only": blob(only), "most": HOWEVER_OFTEN,
        }  # fmt: skip
        with self._writing() as connection:
            connection.execute(WAKE, due)
            if only:
                rows = connection.execute(BEGIN_ONE, begun).fetchall()
            else:
                begun |= self._beside_one_another(connection, limit)
                rows = connection.execute(BEGIN_ANY, begun).fetchall()
        return [claim_of(row[1:], self._settings.max_attempts) for row in sorted(rows)]

    def items(self, claim: Claim, limit: int, max_bytes: int, beyond: int = -1) -> list[Item]:
        """See `Store.items`; none when the claim is lost."""
        found: list[Item] = []
        with self._reading() as connection:
            number = number_held(connection, claim)
            if number is None:
                return []
            first, end = spots(number)
            rows = connection.execute(ITEMS, (first + beyond + 1, end, limit))
            for spot, body in rows:
                max_bytes -= len(body)
                if found and max_bytes < 0:
                    break
                found.append(Item(spot - first, body))
            rows.close()  # what is not read to its end keeps the log from being written back
        return found

    def keep(self, claims: Sequence[Claim]) -> set[str]:
        """See `Store.keep`."""
        until_s = self._lease_ends_s()
        with self._writing() as connection:
            return {
                claim.id
                for claim in claims
                if not connection.execute(
                    f"UPDATE jobs SET lease_ends_s = ? WHERE {HELD}",
                    (until_s, blob(claim.id), claim.fence),
                ).rowcount
            }

    def _beside_one_another(self, connection: sqlite3.Connection, limit: int) -> dict[str, int]:
        """Which of the oldest may be begun together: so many, or those begun so often at most.

        What has one attempt left, after others, is begun alone: whoever did it died, maybe of
        another that was done beside it, and would once more.
        """
        before_last = max(self._settings.max_attempts - 2, 0)
        first = connection.execute(FIRST).fetchone()
        if first is not None and first[0] > before_last:
            return {"limit": min(limit, 1)}
        return {"most": before_last}

    def _lease_ends_s(self) -> float:
        return self._steady() + self._settings.lease_s


def number_held(connection: sqlite3.Connection, claim: Claim) -> int | None:
    """The number of a claim's job, None when the claim is lost."""
    row = connection.execute(
        f"SELECT number FROM jobs WHERE {HELD}", (blob(claim.id), claim.fence)
    ).fetchone()
    return None if row is None else int(row[0])


def keep_results(connection: sqlite3.Connection, number: int, results: Sequence[Result]) -> None:
    """Keep results, if any, and of their inputs those alone that a retry would need."""
    if not results:
        return
    first, _ = spots(number)
    done = failed = freed_bytes = 0
    for result in results:
        spot = first + result.number
        done += (
            new := connection.execute(
                "INSERT OR IGNORE INTO results VALUES (?, ?, ?)", (spot, result.status, result.body)
            ).rowcount
        )
        if result.status != 200:
            failed += new
            continue
        for (body_bytes,) in connection.execute(
            "DELETE FROM inputs WHERE spot = ? RETURNING length(body)", (spot,)
        ).fetchall():
            freed_bytes += body_bytes
    connection.execute(PROGRESS, (done, failed, freed_bytes, number))
