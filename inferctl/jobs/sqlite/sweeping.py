"""What nobody asks for: claims of the dead, results that expire, space that is given back."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from inferctl.jobs.answers import attempts_exhausted
from inferctl.jobs.job import Owner, Swept
from inferctl.jobs.owners import boottime_s, is_gone
from inferctl.jobs.pauses import LONGEST_AFTER_DEATH_S, pause_s, return_s
from inferctl.jobs.sqlite.removal import SOME_ROWS, Removal
from inferctl.jobs.sqlite.rows import queue
from inferctl.jobs.sqlite.schema import DRAIN_S

# How long the answer that something expired is known.
TOMBSTONE_S = 7 * 86_400
# A sweep holds its thread, where others wait, about so long.
SWEEP_S = 0.05
# Free pages stay in the file up to a quarter of it, or 1 MiB; so many are given back at once.
FREE_SHARE, FREE_PAGES = 0.25, 256

RUNNING = """
SELECT number, fence, lease_ends_s, attempts, node, boot, pid, born_ticks FROM jobs
WHERE state = 'running'
"""
STILL = (
    "SELECT 1 FROM jobs WHERE number = ? AND fence = ? AND lease_ends_s = ? AND state = 'running'"
)
OPEN_JOBS = "SELECT sum(jobs) FROM counts WHERE state IN ('queued', 'running')"
BURIED = """
DELETE FROM tombstones WHERE expired_s <= ? AND number IN (
    SELECT number FROM tombstones ORDER BY number LIMIT ?
)
"""


class Held(NamedTuple):
    """A claim that somebody has."""

    number: int
    fence: int
    lease_ends_s: float
    attempts: int
    owner: Owner


class Sweeping(Removal):
    """Keeps the store in order."""

    def sweep(self) -> Swept:
        """See `Store.sweep`. It ends soon, and says whether there is more to do."""
        until_s = time.monotonic() + SWEEP_S
        swept = Swept()
        self._take_back(swept)
        swept.unfinished = not self._tidy(swept, until_s)
        with self._reading() as connection:
            swept.by_state = dict(connection.execute("SELECT state, jobs FROM counts").fetchall())
        return swept

    def _take_back(self, swept: Swept) -> None:
        """Queue again what somebody had who is gone, or did not renew his lease."""
        with self._reading() as connection:
            held = [_held(row) for row in connection.execute(RUNNING)]
        dead = {owner for owner in {claim.owner for claim in held} if self._has_died(owner)}
        lost = [claim for claim in held if claim.owner in dead or self._is_late(claim)]
        if not lost:
            return
        with self._writing() as connection:
            for number, fence, lease_ends_s, attempts, _ in lost:
                # Renewed meanwhile, or ended, or another's already.
                if not connection.execute(STILL, (number, fence, lease_ends_s)).fetchone():
                    continue
                if attempts >= self._settings.max_attempts:
                    self._end(connection, number, "failed", attempts_exhausted(attempts))
                    swept.exhausted += 1
                else:
                    ready_s = self._steady() + pause_s(attempts, LONGEST_AFTER_DEATH_S)
                    queue(connection, number, ready_s, charged=True)
                    swept.redelivered += 1

    def _has_died(self, owner: Owner) -> bool:
        """Leases end by a clock of this boot: one of another is over with its machine's memory."""
        return owner.boot != self._here.boot or is_gone(owner, self._here)

    def _is_late(self, claim: Held) -> bool:
        """Who lives may not have been able to renew his lease, while the disk was full or the
        machine stood still: he has the time to do so, once this process could use the store again.
        """
        well_for_s = boottime_s() - self._well_since_s
        is_well = well_for_s >= return_s(self._settings.lease_s)
        return is_well and claim.lease_ends_s <= self._steady()

    def _tidy(self, swept: Swept, until_s: float) -> bool:
        """Whether that was all. First what is over, then what was left of it, then the file: a
        little of it while jobs are open, which use its free pages again."""
        while (expired := self._expire_some()) is not None:
            swept.expired += expired
            if time.monotonic() > until_s:
                return False
        while self._forget_some():
            if time.monotonic() > until_s:
                return False
        while self._shrink_some() and not self._has_open():
            if time.monotonic() > until_s:
                return False
        self._shorten_log()
        return True

    def _has_open(self) -> bool:
        with self._reading() as connection:
            ((count,),) = connection.execute(OPEN_JOBS).fetchall()
        return bool(count)

    def _forget_some(self) -> bool:
        """Tombstones that are old, and when jobs ended before the last minute."""
        now_s = self._now()
        slot = int(now_s / DRAIN_S)
        with self._reading() as connection:
            ((first_s,),) = connection.execute(
                "SELECT (SELECT expired_s FROM tombstones ORDER BY number LIMIT 1)"
            ).fetchall()
            ((first_slot,),) = connection.execute("SELECT min(slot) FROM drain").fetchall()
        old = first_s is not None and first_s <= now_s - TOMBSTONE_S
        counted = first_slot is not None and first_slot < slot - 2 * 60 // DRAIN_S
        if old or counted:
            with self._writing() as connection:
                connection.execute(BURIED, (now_s - TOMBSTONE_S, SOME_ROWS))
                connection.execute("DELETE FROM drain WHERE slot <= ?", (slot - 60 // DRAIN_S,))
        return old

    def _shrink_some(self) -> bool:
        """Give free pages back; whether there were so many."""
        with self._reading() as connection:
            ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
            ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        if free > max(FREE_PAGES, pages * FREE_SHARE):
            with self._writing() as connection:
                connection.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
            return True
        return False


def _held(row: tuple[Any, ...]) -> Held:
    number, fence, lease_ends_s, attempts, *owner = row
    return Held(number, fence, lease_ends_s, attempts, Owner(*owner))
