"""What does jobs in a worker: it claims them from the store, and has their items predicted.

One task goes to the store and back, as long as there is something to tell or to ask; meanwhile the
items are worked on. So whatever ended since the last trip is told in one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future

import structlog

from inferctl.arena.ledger import JOBS_ARE_OURS, Ledger
from inferctl.arena.spec import WorkerSpec
from inferctl.jobs.job import Owner, Report
from inferctl.jobs.pauses import LONGEST_BACKOFF_S
from inferctl.jobs.store import StoreUnavailable
from inferctl.server.catalogue import Catalogue
from inferctl.server.health import State
from inferctl.server.jobs.accounts import Accounts
from inferctl.server.jobs.apart import Apart, let_be_s
from inferctl.server.jobs.attempt import Attempt
from inferctl.server.jobs.desk import Desk
from inferctl.server.jobs.floor import Floor
from inferctl.server.jobs.offers import Offers
from inferctl.server.jobs.trip import Trip, Want
from inferctl.server.predict import Predict

log = structlog.get_logger()

# Other processes take jobs in too, and do not say so.
LOOK_EVERY_S = 0.25
# Trips begin so long after one another at least, and take along what came meanwhile.
GATHER_S = 0.01
# The second where something is due sooner, but not at once.
SWEEP_EVERY_S, LEAST_SWEEP_S = 5.0, 1.0
# A lease is renewed so often before it would end.
RENEWALS = 3
FIRST_BACKOFF_S = 0.25
# Bodies in memory, of all jobs of this worker; the last one may be larger.
ROOM_BYTES = 16 * 1024 * 1024
# Besides, of first bodies of jobs that would not go on otherwise.
SPARE_BYTES = 48 * 1024 * 1024
# So many windows full of items are here, that the next is when one ends.
WINDOWS = 2

Told = Sequence[tuple[Attempt, Report]]


class Pump:
    """One worker's. Made, and used but for `offer`, on the event loop's thread."""

    def __init__(
        self, spec: WorkerSpec, ledger: Ledger, catalogue: Catalogue, state: State,
        predict: Predict, desk: Desk, owner: Owner,
    ) -> None:  # fmt: skip
        self._settings, self._catalogue, self._state = spec.jobs, catalogue, state
        self._desk, self._owner = desk, owner
        self._is_first = spec.index == 0
        # The others do it for one that hangs.
        self._sweep_every_s = SWEEP_EVERY_S * (1 + spec.index)
        self._is_ours = ledger.blocks[Ledger.SUPERVISOR].state(JOBS_ARE_OURS)
        self._accounts = Accounts(ledger.blocks[spec.process])
        self._news = asyncio.Event()
        self._floor = Floor(ledger, spec.process, spec.workers, predict, self.wake)
        self._offers, self._apart = Offers(), Apart()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun_s, self._pause_s = 0.0, GATHER_S
        self._keep_due_s = self._sweep_due_s = 0.0
        self._renew_every_s = self._settings.lease_s / RENEWALS
        self._is_store_lost = False
        # When what is under way is given up; set once the worker ends.
        self._until_s = math.inf

    def wake(self) -> None:
        """There is something to do."""
        self._news.set()

    def offer(self, job_id: str) -> Future[bool]:
        """Do this job, if it is to be done. From any thread; the future is whether there was an
        attempt, when it has ended; of a bulk job, when it has begun."""
        future = self._offers.add(job_id)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it was refused
                self._loop.call_soon_threadsafe(self.wake)
        return future

    def window(self) -> int:
        """How many ids it can make use of at once; 0 while it may begin nothing."""
        return self._floor.window(self._catalogue.models.values()) if self._may_claim() else 0

    def drain(self, within_s: float) -> None:
        """Begin nothing more. What is under way may end within the time; the rest is for others."""
        self._until_s = time.monotonic() + within_s
        for attempt in self._floor.attempts:
            attempt.hand_back()
        self._offers.close()
        self.wake()

    async def run(self) -> None:
        """Do jobs, until it is told to `drain` and has. A bug ends what is under way, and no
        more."""
        self._loop = asyncio.get_running_loop()
        try:
            while not self._is_done:
                rounds = asyncio.create_task(self._go_round())
                await asyncio.wait({rounds})
                if error := rounds.exception():
                    self._begin_anew(error)
                    await self._pause(LONGEST_BACKOFF_S)
        finally:
            self._offers.close()
            self._offers.end_all()

    async def _go_round(self) -> None:
        """To the store and back, for as long as there is something to do."""
        while not self._is_done:
            await self._rest()
            if time.monotonic() > self._until_s:
                for attempt in self._floor.attempts:
                    attempt.stop_runs()
            self._floor.hand_back_stalled()
            told = [(one, one.report()) for one in self._floor.attempts if one.has_news]
            trip = self._plan(told)
            if not trip.is_idle:
                await self._travel(trip, told)
            if self._is_store_lost and time.monotonic() > self._until_s:
                self._leave_all()  # whoever looks for the claims of the dead finds them
            self._floor.fill()

    def _begin_anew(self, error: BaseException) -> None:
        """Nobody knows what is true of the attempts: others have them once their leases end."""
        traceback.print_exception(error, file=sys.stderr)
        log.error("a bug ended the attempts at jobs in this worker", pid=os.getpid())
        self._leave_all()
        self._offers.end_all()

    def _leave_all(self) -> None:
        for attempt in list(self._floor.attempts):
            attempt.abandon()
            self._leave(attempt)

    async def _pause(self, pause_s: float) -> None:
        """For so long, or until it is told to `drain`."""
        until_s = time.monotonic() + pause_s
        while not self._is_draining and (left_s := until_s - time.monotonic()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()

    @property
    def _is_done(self) -> bool:
        return self._is_draining and not self._floor.attempts

    @property
    def _is_draining(self) -> bool:
        return self._until_s < math.inf

    async def _rest(self) -> None:
        """Until there is something to do, or it is time to look."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LOOK_EVERY_S, self._renew_every_s)):
                await self._news.wait()
        now_s = time.monotonic()
        pause_s = min(self._begun_s + self._pause_s, self._until_s) - now_s
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        self._news.clear()

    def _plan(self, told: Told) -> Trip:
        """What is to be told and asked now."""
        self._begun_s = now_s = time.monotonic()
        attempts = self._floor.attempts
        ends = {report.claim for _, report in told if report.state}
        claims = [one.claim for one in attempts if one.claim not in ends]
        if not claims:  # those to come have their lease with them
            self._keep_due_s = now_s + self._renew_every_s
        window, going = self._floor.window(self._catalogue.models.values()), self._floor.going()
        room, offered = self._to_claim(window, going) if self._may_claim() else (0, [])
        each = max(1, math.ceil(WINDOWS * window / max(1, len(attempts))))
        return Trip(
            self._owner,
            reports=[report for _, report in told],
            kept=claims if now_s >= self._keep_due_s else (),
            sweeps=bool(self._is_ours.get()) and now_s >= self._sweep_due_s,
            room=room,
            offered=offered,
            wanted=self._wanted(each),
            room_bytes=ROOM_BYTES - sum(one.held_bytes for one in attempts),
            spare_bytes=SPARE_BYTES,
            items_each=each,
            is_beside=bool(going),
        )

    def _to_claim(self, window: int, going: Sequence[Attempt]) -> tuple[int, list[str]]:
        """How many of those that wait, and which by their ids."""
        if (alone := self._apart.next(going)) is not None:
            return 0, alone
        room = self._floor.room(window)
        return room if self._settings.backend == "sqlite" else 0, self._offers.take(room)

    def _may_claim(self) -> bool:
        is_ending = self._is_draining or self._state.draining
        return not is_ending and bool(self._is_ours.get()) and self._state.is_loaded()

    def _wanted(self, each: int) -> list[Want]:
        """Of jobs of which fewer than half of `each` items are here: those first that lack most."""
        lacking = [
            one for one in self._floor.attempts if len(one.ready) <= each // 2 and one.lacks(each)
        ]
        lacking.sort(key=lambda one: len(one.ready) + len(one.under_way))
        return [
            Want(one.claim, one.lacks(each), one.beyond, not (one.ready or one.under_way))
            for one in lacking
        ]

    async def _travel(self, trip: Trip, told: Told) -> None:
        """Go to the store, and make of it what came of it."""
        try:
            await self._desk.do(trip.go)
        except StoreUnavailable as error:
            self._back_off(error)
        else:
            self._go_on(trip)
        self._hear_out(trip, told)
        self._begin(trip)
        if trip.may_leave_more or trip.apart:
            self.wake()
        if trip.swept is not None:
            self._accounts.swept(trip.swept)
            if self._is_first:
                self._accounts.show(trip.swept)

    def _begin(self, trip: Trip) -> None:
        """What was claimed; what is to be done alone, and is not, goes back as if never begun."""
        apart, let_be = trip.apart, let_be_s(self._floor.going())
        begun = [claim for claim in trip.claims if claim not in apart]
        self._offers.claimed(trip.offered, trip.asked, begun)
        self._apart.add(claim.id for claim in apart)
        for claim in trip.claims:
            self._forget(claim.id)
            if claim.is_bulk:  # who waits for it is missed by singles, and its lease is enough
                self._offers.end(claim.id, attempted=True)
            self._floor.add(attempt := Attempt(claim), trip.items.get(claim))
            if claim in apart or self._is_draining:
                attempt.hand_back(let_be if claim in apart else 0)

    def _hear_out(self, trip: Trip, told: Told) -> None:
        """What became of the attempts there were."""
        for attempt, report in told:
            if not trip.is_told or report.claim.id in trip.lost:
                attempt.take_back(report)
            elif report.state:
                self._accounts.ended(report)
                self._leave(attempt)
        for attempt in list(self._floor.attempts):
            if attempt.claim.id in trip.lost:
                in_vain = attempt.abandon()
                if attempt.claim.id not in trip.cancelled:
                    self._accounts.stale(in_vain)
                self._leave(attempt)
            elif attempt.claim in trip.items:
                self._floor.stock(attempt, trip.items[attempt.claim])

    def _forget(self, job_id: str) -> None:
        """An attempt of which nobody heard that it is lost: there is a new one of the same job."""
        for attempt in [one for one in self._floor.attempts if one.claim.id == job_id]:
            self._accounts.stale(attempt.abandon())
            self._leave(attempt)

    def _leave(self, attempt: Attempt) -> None:
        self._floor.leave(attempt)
        self._offers.end(attempt.claim.id, attempted=True)

    def _back_off(self, error: StoreUnavailable) -> None:
        """Come back later, and later; what is under way goes on meanwhile."""
        if not self._is_store_lost:
            log.warning("the job store cannot be used: jobs wait", reason=str(error))
            self._is_store_lost, self._pause_s = True, FIRST_BACKOFF_S / 2
        self._pause_s = min(2 * self._pause_s, LONGEST_BACKOFF_S)

    def _go_on(self, trip: Trip) -> None:
        """It was there."""
        if self._is_store_lost:
            log.info("the job store can be used again")
        self._is_store_lost, self._pause_s = False, GATHER_S
        if trip.kept:
            self._keep_due_s = self._begun_s + self._renew_every_s
        if trip.swept is not None:
            soon_s = 0 if trip.swept.unfinished else max(trip.swept.due_s, LEAST_SWEEP_S)
            self._sweep_due_s = self._begun_s + min(soon_s, self._sweep_every_s)
