"""Waiting for a job: a look at it, no more often than the server wants, until the time is over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from inferctl.client.errors import (
    ClientError,
    DeadlineExceeded,
    Gone,
    InvalidInput,
    Unreachable,
)
from inferctl.client.exchange import (
    OK,
    Outgoing,
    Pause,
    Reply,
    Steps,
    is_refusal,
    json_of,
    retry_after_s_of,
)
from inferctl.client.jobs.dialogue import NDJSON, NOT_MODIFIED, JobDialogue, path_of
from inferctl.client.jobs.status import JobStatus, status_of
from inferctl.client.results import Prediction, prediction_of

# Also for a server that lets it be looked at again at once.
LEAST_PAUSE_S = 0.01
# Before the time is over there is one more look, if the last was not later than this.
LAST_LOOK_S = 0.05
# So long the first look may take, and the answer of what is over, if less than that is left: who
# does not want to wait is told what there is.
LEAST_ASKING_S = 1.0


class Watch:
    """One wait for one job, until `timeout_s` from now. It never ends the job.

    It is looked at once however short that is.
    """

    def __init__(self, dialogue: JobDialogue, job_id: str, timeout_s: float | None) -> None:
        self._dialogue = dialogue
        self._id = job_id
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._ends_s = dialogue.patience.now() + self._timeout_s
        self._status: JobStatus | None = None
        self._etag = ""
        self._pauses = 0
        self._retry_after_s: float | None = None

    def look(self) -> Steps[JobStatus]:
        """What became of it, the same value until it changes. Raises Gone and ClientError."""
        asked = Outgoing("GET", path_of(self._id))
        if self._etag:
            known = {"if-none-match": self._etag}
            asked = replace(asked, headers=known, accepted=(OK, NOT_MODIFIED))
        reply = yield from self.ask(asked)
        self._retry_after_s = retry_after_s_of(reply.headers)
        if self._status is None or reply.status == OK:
            self._etag = reply.headers.get("etag", "")
            status = status_of(json_of(reply, ""))
            # What says the same is the same, so that news can be told by identity.
            if status != self._status:
                self._status, self._pauses = status, 0
        if self._status.state == "expired":
            raise Gone(f"the result of job {self._id} is forgotten", hint="submit it again")
        return self._status

    def pause(self) -> Steps[None]:
        """Wait until it may be looked at again. Raises DeadlineExceeded."""
        left_s = self._left_s()
        if left_s <= LAST_LOOK_S:
            raise self._too_late()
        pause_s = self._dialogue.patience.pause_s(self._pauses, self._retry_after_s)
        self._pauses += 1
        yield Pause(min(max(pause_s, LEAST_PAUSE_S), left_s - LAST_LOOK_S))

    def ask(self, outgoing: Outgoing) -> Steps[Reply]:
        """Ask about it, also of a server that is away for a while. Raises ClientError."""
        left_s = self._left_s()
        if self._status is None or self._status.is_over:
            left_s = max(left_s, LEAST_ASKING_S)
        try:
            return (yield from self._dialogue.insist(outgoing, left_s))
        except ClientError as error:
            is_passing = is_refusal(error) or isinstance(error, Unreachable | DeadlineExceeded)
            if is_passing and self._left_s() <= LAST_LOOK_S:
                raise self._too_late() from error
            raise

    def result(self) -> Steps[Prediction]:
        """Wait, and fetch the one answer. Raises what a prediction would have, Conflict, Gone."""
        status = yield from self.look()
        if status.items > 1:
            # They may be gigabytes, and none of them is the one that is asked for.
            raise _many_results()
        while not status.is_over:
            yield from self.pause()
            status = yield from self.look()
        if status.state != "done":
            raise status.error()
        reply = yield from self.ask(Outgoing("GET", path_of(self._id, "/result")))
        if is_bulk(reply.headers):
            raise _many_results()
        request_id = request_id_of(self._id)
        return prediction_of(json_of(reply, request_id), request_id)

    def _left_s(self) -> float:
        return self._ends_s - self._dialogue.patience.now()

    def _too_late(self) -> DeadlineExceeded:
        state = self._status.state if self._status else "not seen"
        return DeadlineExceeded(
            f"job {self._id} is {state} after {self._timeout_s:g} s",
            hint="it goes on: ask for it again, or cancel it",
        )


def _many_results() -> InvalidInput:
    return InvalidInput("the job has many results", hint="iterate over results()")


def is_bulk(headers: Mapping[str, str]) -> bool:
    """Whether an answer has a line for each item."""
    return headers.get("content-type", "").startswith(NDJSON)


def request_id_of(job_id: str, item: int = 0) -> str:
    """By which the server's log has an item, once for each attempt at it."""
    return f"{job_id}.{item}"
