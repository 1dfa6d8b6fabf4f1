"""Many items in one request: a run for each, and one answer for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferctl.errors import InferctlError
from inferctl.refusals import DeadlineExceeded
from inferctl.server.call import Reply
from inferctl.server.run import Run, step
from inferctl.tasks.base import Many

if TYPE_CHECKING:
    from inferctl.server.prediction import Prediction


class Shares:
    """The items of a request on their way. Tells it when the last one is answered.

    `was_late` is whether the deadline of one passed when its run had begun.
    """

    def __init__(self, request: Prediction, items: Many, now_s: float) -> None:
        self._request = request
        self._replies: list[Reply | None] = [None] * len(items)
        self._unanswered = len(items)
        self.was_late = False
        self._shares = [Share(request, self, place) for place in range(len(items))]
        for share, item in zip(self._shares, items, strict=True):
            share.start(item, now_s)

    def fail(self, error: InferctlError) -> None:
        """End those that are not over."""
        for share in self._shares:
            share.fail(error)

    def decoding(self) -> int:
        """How many of them a decoder has."""
        return sum(share.is_decoding for share in self._shares)

    def gather(self) -> None:
        """Let their request say what became of them so far."""
        self._request.call.gather([share.call for share in self._shares])

    def answered(self, place: int, reply: Reply) -> None:
        """One of them is over."""
        self._replies[place] = reply
        self._unanswered -= 1
        if not (self._unanswered or self._request.over):
            self.gather()
            self._request.join([reply for reply in self._replies if reply])


class Share(Run):
    """One item of a request, which has a place in the queue for it."""

    __slots__ = ("_place", "_shares")

    def __init__(self, request: Prediction, shares: Shares, place: int) -> None:
        self._shares, self._place = shares, place
        super().__init__(request.call.part(), request.model, request.dialect, request.work)
        self.form, self.deadline_s, self.bulk = request.form, request.deadline_s, request.bulk
        self._places = 1

    @step
    def start(self, item: Any, now_s: float) -> None:
        """Let it go on; whatever happens to it is its own answer."""
        self._start(item, now_s)

    def fail(self, error: InferctlError) -> None:
        """End it with a problem, unless it is over."""
        if not self.over and isinstance(error, DeadlineExceeded) and self.has_begun():
            self._shares.was_late = True
        super().fail(error)

    def _answer(self, reply: Reply) -> None:
        self._shares.answered(self._place, reply)
        if self.model.leaving:  # its request may be over already
            self.model.look()
