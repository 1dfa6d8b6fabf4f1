"""One attempt at a job: its items that are there, those under way, and what came of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson

from inferctl.jobs.job import Claim, Item, Report, Result
from inferctl.jobs.pauses import LONGEST_PAUSE_S, pause_s
from inferctl.server.call import Reply
from inferctl.server.jobs.fate import Fate, fate_of, wait_s
from inferctl.server.jobs.item_run import ItemRun


class Attempt:
    """`ready` are items that may be begun, `under_way` those that were. `is_paused` while the
    service has no room for them, and `is_waiting` while it waits for its turn to begin one."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.ready: deque[Item] = deque()
        self.under_way: set[ItemRun] = set()
        self.is_paused = self.is_waiting = False
        # When it was claimed, or an item came to something last.
        self.moved_s = time.monotonic()
        # Of the bodies in memory.
        self.held_bytes = 0
        # The last item that is here; those behind it the store still has.
        self.beyond = -1
        # Of all items: without a result, and of these those that are not here.
        self._left = self._unfetched = claim.items - claim.done_items
        self._results: list[Result] = []
        self._failed = claim.failed_items
        self._problem: bytes | None = None
        # How it ends before all items have a result.
        self._ending: Report | None = None
        self._is_lost = False

    @property
    def is_stopped(self) -> bool:
        """Whether no more items are begun."""
        return self._is_lost or self._ending is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done, but to tell the store."""
        return not self.under_way and (self.is_stopped or not self._left)

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell the store."""
        return bool(self._results) or self.is_over

    def lacks(self, most: int) -> int:
        """How many items are to be fetched, so that as many as `most` are ready."""
        return 0 if self.is_stopped else min(most - len(self.ready), self._unfetched)

    def take_in(self, items: Sequence[Item]) -> None:
        """Some were fetched, or there are none."""
        if items:
            self._unfetched -= len(items)
            self.beyond = items[-1].number
        else:
            self._left -= self._unfetched
            self._unfetched = 0
        if not self.is_stopped:
            self.ready += items
            self.held_bytes += sum(len(item.body) for item in items)

    def answered(self, run: ItemRun, reply: Reply) -> float:
        """An item was, and is not under way any more; seconds until the next one may be begun, 0
        if it may at once."""
        fate = fate_of(reply, was_run=run.was_run)
        if fate is Fate.BROKEN and self.claim.is_last:
            fate = Fate.RESULT
        if fate is Fate.AGAIN and not self.is_stopped:
            self.ready.appendleft(run.item)
            return wait_s(reply)
        self.moved_s = time.monotonic()
        self.held_bytes -= len(run.item.body)
        if self._is_lost:
            return 0.0
        if fate is Fate.BROKEN:
            after_s = pause_s(self.claim.attempt, LONGEST_PAUSE_S)
            self._stop(Report(self.claim, state="queued", after_s=after_s, charged=True))
        elif fate is Fate.RESULT:
            self._left -= 1
            self._results.append(Result(run.item.number, reply.status, reply.body))
            if reply.status != HTTPStatus.OK:
                self._failed += 1
                self._problem = reply.body
        return 0.0

    def fail(self, problem: dict[str, Any]) -> None:
        """It can never be done; what is under way still ends."""
        self._stop(Report(self.claim, state="failed", problem=problem))

    def hand_back(self, after_s: float = 0) -> None:
        """Others are to do the rest of it, in so many seconds or later."""
        self._stop(Report(self.claim, state="queued", after_s=after_s))

    def abandon(self) -> int:
        """It is another's, or cancelled: nothing of it counts any more. How many results come to
        nothing by that, which were there or on their way."""
        in_vain = len(self._results) + len(self.under_way)
        self._is_lost = True
        self._results.clear()
        self._drop_ready()
        self.stop_runs()
        return in_vain

    def stop_runs(self) -> None:
        """End what is under way; it gets no result."""
        for run in list(self.under_way):
            run.abandon()

    def report(self) -> Report:
        """What came of it since it was asked last. One that is over says how it ends."""
        results, self._results = self._results, []
        if not self.is_over:
            return Report(self.claim, results)
        end = self._ending if self._ending and self._left else self._natural_end()
        return Report(self.claim, results, end.state, end.problem, end.after_s, end.charged)

    def take_back(self, report: Report) -> None:
        """The store did not hear it."""
        self._results[:0] = report.results

    def _natural_end(self) -> Report:
        """All items have a result."""
        if self._failed < self.claim.items:
            return Report(self.claim, state="done")
        problem = orjson.loads(self._problem) if self._problem else None
        return Report(self.claim, state="failed", problem=problem)

    def _stop(self, ending: Report) -> None:
        self._ending = self._ending or ending
        self._drop_ready()

    def _drop_ready(self) -> None:
        self.held_bytes -= sum(len(item.body) for item in self.ready)
        self.ready.clear()
