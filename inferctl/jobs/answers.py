"""What every store says to those who ask for what it has not, or has no room for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inferctl.jobs.job import Report
from inferctl.refusals import (
    RETRY_HINT,
    Conflict,
    Gone,
    NotFound,
    Overloaded,
    RequestError,
    TooLarge,
    Unprocessable,
)

# Whoever is refused comes back when there may be room, but not never.
SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


def unknown() -> NotFound:
    """The same for an id that never was, is malformed, or is another key's."""
    return NotFound("no such job", hint="an id is known for its time of expiry, to its key alone")


def expired() -> Gone:
    """Its time is over."""
    return Gone("the job expired and its result is forgotten", hint="submit it again")


def key_reused() -> Unprocessable:
    """An idempotency key stands for one request."""
    return Unprocessable(
        "the Idempotency-Key was used for another request", hint="use a new key for a new request"
    )


def already(state: str) -> Conflict:
    """It is `state`, and what is asked for does not go with that."""
    return Conflict(f"the job is {state}")


def inputs_gone() -> Conflict:
    """It cannot be begun anew."""
    return Conflict("the inputs of the job are kept no more", hint="submit it again")


def no_such_page() -> RequestError:
    """The list does not go on there."""
    return RequestError("`after` is not what a page said", hint="leave it out to begin anew")


def too_many_items(most: int) -> TooLarge:
    """More inputs than one job may have."""
    return TooLarge(f"a job has at most {most:,} items", hint="submit several jobs")


def too_many_bytes(most: int) -> TooLarge:
    """More than would fit if nothing else were there."""
    return TooLarge(f"jobs hold at most {most:,} bytes of inputs", hint="submit several jobs")


def no_room(ended_in_a_minute: int, turn: int) -> Overloaded:
    """For whoever is the `turn`th to wait for a place, where so many became free."""
    wait_s = 60 * turn / ended_in_a_minute if ended_in_a_minute else LONGEST_RETRY_S
    return Overloaded(
        "too many jobs wait", hint=RETRY_HINT, reason="jobs",
        retry_after_s=min(max(wait_s, SHORTEST_RETRY_S), LONGEST_RETRY_S),
    )  # fmt: skip


def little_disk() -> Overloaded:
    """What is left is for the results of jobs that were taken in."""
    return Overloaded(
        "the disk of the job store is nearly full", hint="free some, or purge jobs; retry then",
        reason="jobs", retry_after_s=LONGEST_RETRY_S,
    )  # fmt: skip


def attempts_exhausted(attempts: int) -> dict[str, Any]:
    """The problem of a job that was begun so often, and whoever did it died of it each time."""
    return {
        "type": "about:blank",
        "title": "attempts exhausted",
        "status": 500,
        "code": "attempts_exhausted",
        "detail": f"begun {attempts} times, and each time who did it was gone",
        "hint": "the log says what ended it; `inferctl jobs retry` begins it anew",
    }


def settled(report: Report) -> Report:
    """The same, but that a last attempt which is charged is the job's end."""
    if report.state != "queued" or not (report.charged and report.claim.is_last):
        return report
    return replace(report, state="failed", problem=attempts_exhausted(report.claim.attempt))
