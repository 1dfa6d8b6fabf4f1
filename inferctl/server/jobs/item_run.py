"""An item of a job on its way: a predict request that nobody sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from inferctl.arena.routes import JOBS
from inferctl.errors import InferctlError
from inferctl.jobs.job import Item
from inferctl.refusals import DeadlineExceeded
from inferctl.server.call import Call, Reply
from inferctl.server.jobs.fate import Fate, fate_of
from inferctl.server.predict import Route
from inferctl.server.prediction import Prediction
from inferctl.server.terms import Terms
from inferctl.server.workplace import Workplace
from inferctl.tasks.base import Prepared

if TYPE_CHECKING:
    from inferctl.server.jobs.attempt import Attempt

# What its line in the request log has for a method.
METHOD = "JOB"


class ItemRun(Prediction):
    """Calls `answered` once with itself and its answer; and before that `decoded`, if it comes so
    far: its rows are with the engine then.

    `was_run` is whether the model had begun with it when it ended.
    """

    __slots__ = ("_answered", "_has_left_decoder", "attempt", "item", "was_run")

    def __init__(
        self, attempt: Attempt, item: Item, route: Route, work: Workplace,
        answered: Callable[[ItemRun, Reply], None], decoded: Callable[[ItemRun], None],
    ) -> None:  # fmt: skip
        self.attempt, self.item, self.was_run = attempt, item, True
        self._answered, self._has_left_decoder = answered, decoded
        claim = attempt.claim
        fields = {
            b"content-type": claim.content_type.encode("latin-1"),
            b"x-request-id": f"{claim.id}.{item.number}".encode("ascii"),
        }
        call = Call(METHOD, JOBS, claim.query.encode("latin-1"), fields)
        call.route = JOBS
        terms = Terms(work.max_timeout_s, bulk=True)
        super().__init__(call, *route, work, _tell_nobody, terms)

    def decoding(self) -> int:
        """How many decoders it keeps busy: none while it waits for its place at the gate."""
        return self.is_decoding if self._shares is None else self._shares.decoding()

    def fail(self, error: InferctlError) -> None:
        """End it with a problem, unless it is over."""
        if not self.over and isinstance(error, DeadlineExceeded):
            self.was_run = self._shares is not None or self.has_begun()
        super().fail(error)

    def join(self, replies: list[Reply]) -> None:
        """Every one of its items was answered. What is a passing trouble for one is so for all, and
        no result; on the last attempt they have what they came to."""
        if self._shares is not None:
            self.was_run = self._shares.was_late
        fates = {fate_of(reply, was_run=self.was_run): reply for reply in replies}
        if (reply := fates.get(Fate.BROKEN)) is None:
            reply = fates.get(Fate.AGAIN)
        elif self.attempt.claim.is_last:
            reply = None
        if reply is None:
            super().join(replies)
        else:
            self._finish(reply, time.monotonic())

    def _submit(self, prepared: Prepared) -> None:
        super()._submit(prepared)
        self._has_left_decoder(self)

    def _answer(self, reply: Reply) -> None:
        try:
            super()._answer(reply)
        finally:
            self._answered(self, reply)


def _tell_nobody(reply: Reply) -> None:
    """There is no client."""
