"""The results of a bulk job, in order, as they come."""

from __future__ import annotations

from typing import Any

import orjson

from inferctl.client.dialogue import Outcome
from inferctl.client.errors import ClientError, Conflict, foreign
from inferctl.client.exchange import OK, Outgoing, Reply, Steps, error_of, json_of
from inferctl.client.jobs.dialogue import JobDialogue, path_of
from inferctl.client.jobs.status import JobStatus
from inferctl.client.jobs.watch import Watch, is_bulk, request_id_of
from inferctl.client.results import prediction_of

# So much of the results is read at once and held; the rest is asked for again.
MOST_BYTES = 4 * 2**20


class Reading:
    """Asks for more until each item has its outcome; `is_over` then.

    Items are done in any order and told in their own: what lies behind one that is not done is
    fetched again later.
    """

    def __init__(self, dialogue: JobDialogue, job_id: str, timeout_s: float | None) -> None:
        self._watch = Watch(dialogue, job_id, timeout_s)
        self._id = job_id
        self._seen: JobStatus | None = None
        self._next = 0
        self._most_bytes = MOST_BYTES
        self._is_cut = False
        self.is_over = False

    def more(self) -> Steps[list[Outcome]]:
        """The next outcomes; none at the end alone. Raises DeadlineExceeded, and ClientError."""
        while True:
            status = self._seen
            if status is None or not self._is_cut:
                status = yield from self._look()
            if self._is_cut or status is not self._seen:
                self._seen = status
                outcomes = yield from self._read(status)
                self.is_over = self._next >= status.items
                if outcomes or self.is_over:
                    return outcomes

    def _look(self) -> Steps[JobStatus]:
        """Look at the job, at first at once."""
        if self._seen is not None:
            yield from self._watch.pause()
        return (yield from self._watch.look())

    def _read(self, status: JobStatus) -> Steps[list[Outcome]]:
        """What is there from the next item on; once it is over also what never will be."""
        params = {"first": self._next} if self._next else {}
        # Of one answer there is no part to begin with.
        most_bytes = self._most_bytes if status.items > 1 else None
        path = path_of(self._id, "/result")
        outgoing = Outgoing("GET", path, params=params, most_bytes=most_bytes)
        outcomes: list[Outcome] = []
        self._is_cut = False
        try:
            reply = yield from self._watch.ask(outgoing)
        except ClientError as error:
            # A job of one item has no lines: it is not there yet, or the status says why not.
            is_told = status.items == 1 and status.problem is not None
            if not isinstance(error, Conflict) and not is_told:
                raise
        else:
            outcomes = self._outcomes(reply, status)
        if status.is_over and not self._is_cut:
            outcomes += self._missing(status, status.items)
        return outcomes

    def _outcomes(self, reply: Reply, status: JobStatus) -> list[Outcome]:
        if not is_bulk(reply.headers):
            self._next = 1
            request_id = request_id_of(self._id)
            return [prediction_of(json_of(reply, request_id), request_id)]
        lines = reply.body.split(b"\n")
        if not reply.is_whole:
            self._is_cut = True
            if len(lines) == 1:  # or the one line that is longer would never be read
                self._most_bytes *= 2
            lines.pop()
        outcomes: list[Outcome] = []
        for line in filter(None, lines):
            number, outcome = _numbered(line, self._id)
            if number > self._next and not status.is_over:
                self._is_cut = False
                break
            outcomes += self._missing(status, number)
            if number == self._next:
                outcomes.append(outcome)
                self._next += 1
        return outcomes

    def _missing(self, status: JobStatus, end: int) -> list[Outcome]:
        """Errors for the items up to `end`, which will have no result."""
        missing: list[Outcome] = [status.error() for _ in range(self._next, end)]
        self._next = max(self._next, end)
        return missing


def _numbered(line: bytes, job_id: str) -> tuple[int, Outcome]:
    """A line's item and what came of it. Raises UnexpectedAnswer."""
    try:
        document: dict[str, Any] = orjson.loads(line)
        number, status = int(document["item"]), int(document["status"])
        request_id = request_id_of(job_id, number)
        if status == OK:
            return number, prediction_of(document["result"], request_id)
        return number, error_of(status, document["problem"], request_id)
    except (KeyError, TypeError, ValueError):
        raise foreign("/jobs") from None
