"""Many inputs as few jobs: what fits into a request's body is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from inferctl.client.dialogue import Outcome, chosen_of, encoding
from inferctl.client.errors import (
    BadRequest,
    ClientError,
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
)
from inferctl.client.exchange import Steps, TimeLeft
from inferctl.client.inputs import Content, Input, is_picture, line
from inferctl.client.jobs.dialogue import KEY, NDJSON, JobDialogue, JobOptions, key_of, named_of
from inferctl.client.jobs.reading import Reading
from inferctl.client.jobs.status import JobStatus

# A server takes 14 MiB and 100,000 items unless told otherwise; where it takes less a share is
# halved until it does.
MOST_BYTES = 12 * 2**20
MOST_ITEMS = 100_000
TOO_LARGE = 413
# So long a person who ends it waits for what was handed in to be cancelled.
UNDO_S = 5.0
# After these there is no job; after any other error there may be one.
REFUSALS = (BadRequest, NotAllowed, NotFound, Conflict, Overloaded)


class Share(NamedTuple):
    """A job, and the places of its items among all inputs."""

    status: JobStatus
    places: Sequence[int]


class Line(NamedTuple):
    """An input that waits to be sent, and its place."""

    place: int
    body: bytes


class Asked(NamedTuple):
    """A request for a job, and the places of its items."""

    content: Content
    key: str
    places: Sequence[int]


class Bulk:
    """Takes inputs one by one, and hands them in.

    `shares` are the jobs, in the inputs' order; `errors` are of inputs that are in none, by place.
    """

    def __init__(self, dialogue: JobDialogue, options: JobOptions, key: str | None) -> None:
        """Raises InvalidInput for a key that is none."""
        self._dialogue, self._options = dialogue, options
        self._key = key_of(key)
        self._is_made_up = key is None
        # What was asked for and is answered by neither a job nor a refusal.
        self._unsure: Asked | None = None
        self._cancelled = set[str]()
        self._waiting: list[Line] = []
        self._waiting_bytes = 0
        self.items = 0
        self.shares: list[Share] = []
        self.errors: dict[int, ClientError] = {}

    def add(self, x: Input) -> Steps[None]:
        """One more. Raises ClientError."""
        place = self.items
        self.items += 1
        chosen = chosen_of(self._options)
        try:
            body = (yield from encoding(line, x, chosen)) if is_picture(x) else line(x, chosen)
        except InvalidInput as error:
            self.errors[place] = error
            return
        size = len(body) + 1
        if self._waiting_bytes + size > MOST_BYTES or len(self._waiting) == MOST_ITEMS:
            yield from self.end()
        self._waiting.append(Line(place, body))
        self._waiting_bytes += size

    def end(self) -> Steps[None]:
        """Hand in what waits. Raises ClientError."""
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if lines:
            yield from self._hand_in(lines)

    def undo(self) -> Steps[None]:
        """Cancel what was handed in, as far as that is possible: all are jobs, or none is.

        It takes `UNDO_S` at most; `tell` says what is left. With a key of the caller's nothing is
        cancelled: a job may be that of an earlier run, and who asks once more with this key would
        get the cancelled ones again.
        """
        if not self._is_made_up:
            return
        time_left = TimeLeft(UNDO_S, self._dialogue.patience.now)
        yield from self._cancel(time_left)
        if self._unsure is not None:
            # By its key the server tells the job, if it has it; if the first request comes in later
            # than this one, it finds the cancelled job.
            with suppress(ClientError):
                yield from self._ask(self._unsure, {**self._options, "timeout_s": None}, time_left)
            yield from self._cancel(time_left)

    def tell(self, error: BaseException | None) -> None:
        """Add a note of what goes on, or may do so, though it ended early."""
        going_on = [one.status.id for one in self.shares if one.status.id not in self._cancelled]
        notes = [f"not cancelled: {' '.join(dict.fromkeys(going_on))}"] if going_on else []
        if self._unsure is not None:
            notes.append("a job may have been submitted")
        if error is not None and notes:
            error.add_note("; ".join(notes))

    def _cancel(self, time_left: TimeLeft) -> Steps[None]:
        """Cancel the jobs that are known, each asked once."""
        for job_id in [share.status.id for share in self.shares]:
            if job_id not in self._cancelled:
                with suppress(ClientError):
                    yield from self._hasty(time_left).cancel(job_id)
                    self._cancelled.add(job_id)

    def _hasty(self, time_left: TimeLeft) -> JobDialogue:
        return JobDialogue(time_left.left_s(), self._dialogue.patience.without_retries())

    def _hand_in(self, lines: Sequence[Line]) -> Steps[None]:
        body = b"".join(b"%b\n" % one.body for one in lines)
        places = [one.place for one in lines]
        try:
            yield from self._ask(
                Asked(Content(body, NDJSON), self._key_at(places[0]), places), self._options
            )
        except BadRequest as error:
            if error.status != TOO_LARGE:
                raise
            if len(lines) == 1:
                self.errors[places[0]] = error
                return
            half = len(lines) // 2
            yield from self._hand_in(lines[:half])
            yield from self._hand_in(lines[half:])

    def _ask(
        self, asked: Asked, options: JobOptions, time_left: TimeLeft | None = None
    ) -> Steps[None]:
        """Ask for a job; once alone, if that is all the time there is."""
        dialogue = self._dialogue if time_left is None else self._hasty(time_left)
        self._unsure = asked
        try:
            status = yield from dialogue.hand_in(
                asked.content, named_of(options), options, asked.key
            )
        except REFUSALS:
            self._unsure = None
            raise
        self.shares.append(Share(status, asked.places))
        self._unsure = None

    def _key_at(self, place: int) -> str:
        """The key of the job that begins there.

        The same inputs are shared out in the same way, so a key of the caller's finds its jobs.
        """
        key = f"{self._key}:{place}"
        return key if KEY.fullmatch(key) else sha256(key.encode()).hexdigest()


class Gathering:
    """The outcomes of a bulk in the inputs' order; `is_over` once each was told."""

    def __init__(self, dialogue: JobDialogue, bulk: Bulk, timeout_s: float | None) -> None:
        self._errors, self._items = bulk.errors, bulk.items
        self._readings = deque(
            (iter(share.places), Reading(dialogue, share.status.id, timeout_s))
            for share in bulk.shares
        )
        self._next = 0
        self.is_over = False

    def more(self) -> Steps[list[Outcome]]:
        """The next outcomes. Raises as `Reading.more`."""
        outcomes: list[Outcome] = []
        if self._readings:
            places, reading = self._readings[0]
            for outcome in (yield from reading.more()):
                outcomes += self._errors_before(next(places))
                outcomes.append(outcome)
                self._next += 1
            if reading.is_over:
                self._readings.popleft()
        if not self._readings:
            outcomes += self._errors_before(self._items)
            self.is_over = True
        return outcomes

    def _errors_before(self, place: int) -> list[Outcome]:
        errors: list[Outcome] = [self._errors[number] for number in range(self._next, place)]
        self._next = place
        return errors
