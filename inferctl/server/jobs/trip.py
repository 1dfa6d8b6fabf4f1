"""A trip to the job store: all that a worker has to tell it, and to ask of it, at the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from inferctl.jobs.job import Claim, Item, Owner, Report, Swept
from inferctl.jobs.store import Store
from inferctl.refusals import Gone, NotFound


@dataclass(frozen=True, slots=True)
class Want:
    """Up to so many items of a claim more, of those `beyond` one; `is_bare` if none is here."""

    claim: Claim
    limit: int
    beyond: int = -1
    is_bare: bool = True


@dataclass(slots=True)
class Trip:
    """What is told and asked, and what came of it, as far as it came.

    There is `room` for so many jobs, whichever they are; `offered` are ids of jobs that are claimed
    besides; `is_beside` where some are being done.

    Of bodies `room_bytes` may be fetched: those of `wanted` come first, then the new ones', of each
    up to `items_each`. Where none is here one may be fetched all the same, which may take
    `spare_bytes` more: large ones of which nothing comes do not stop all others.
    """

    owner: Owner
    reports: Sequence[Report]
    kept: Sequence[Claim]
    sweeps: bool
    room: int
    offered: Sequence[str]
    wanted: Sequence[Want]
    room_bytes: int
    spare_bytes: int
    items_each: int
    is_beside: bool = False

    is_told: bool = False
    lost: set[str] = field(default_factory=set)
    # Those of them that are, and no other's.
    cancelled: set[str] = field(default_factory=set)
    swept: Swept | None = None
    claims: list[Claim] = field(default_factory=list)
    # Of those offered so many were asked for: the first ones.
    asked: int = 0
    # There is no entry where nothing was asked for.
    items: dict[Claim, list[Item]] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to go for."""
        return not (
            self.reports or self.kept or self.sweeps or self.room or self.offered or self.wanted
        )

    @property
    def apart(self) -> list[Claim]:
        """Those claimed that are to be done alone, and are not: they are to be handed back."""
        is_alone = not self.is_beside and len(self.claims) == 1
        return [] if is_alone else [claim for claim in self.claims if claim.is_alone]

    @property
    def may_leave_more(self) -> bool:
        """Whether there may be more jobs that should begin at once. Those of many items are not
        missed so soon, and others may have come for them by then."""
        claimed = len(self.claims)
        is_full = claimed >= self.room + len(self.offered)
        has_single = any(not claim.is_bulk for claim in self.claims)
        return (is_full and has_single) or len(self.offered) > claimed

    def go(self, store: Store) -> None:
        """Do it, in the store's thread. Raises StoreUnavailable; what came of it so far counts."""
        if self.reports:
            self.lost |= store.report(self.reports)
            self.is_told = True
        if self.kept:
            self.lost |= store.keep(self.kept)
        self.cancelled = {job_id for job_id in self.lost if _is_cancelled(store, job_id)}
        if self.sweeps:
            self.swept = store.sweep()
        self._claim(store)
        apart = self.apart
        new = [Want(one, self.items_each) for one in self.claims if one not in apart]
        for want in (*self.wanted, *new):
            limit, room_bytes = want.limit, self.room_bytes
            if room_bytes <= 0:
                if not want.is_bare or room_bytes <= -self.spare_bytes:
                    continue
                limit, room_bytes = 1, 1
            items = store.items(want.claim, limit, room_bytes, want.beyond)
            self.room_bytes -= sum(len(item.body) for item in items)
            self.items[want.claim] = items

    def _claim(self, store: Store) -> None:
        """Some that are done beside each other, or one that is done alone."""
        for job_id in self.offered:
            self.claims += store.claim(self.owner, 1, job_id)
            self.asked += 1
            if not self.apart and any(claim.is_alone for claim in self.claims):
                return
        if self.room:
            self.claims += store.claim(self.owner, self.room)


def _is_cancelled(store: Store, job_id: str) -> bool:
    try:
        return store.find(job_id, None).state == "cancelled"
    except (NotFound, Gone):  # it was forgotten meanwhile
        return False
