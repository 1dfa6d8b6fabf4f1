"""What a server says of a job, as a typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inferctl.client.errors import ClientError, Conflict, foreign
from inferctl.client.exchange import error_of

OPEN = ("queued", "running")
# Those of a problem that has none.
UNTOLD_STATUS = 500


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What became of a job so far.

    `state` is queued, running, done, failed, cancelled or expired. `done_items` of `items` have a
    result, and that of `failed_items` of them is an error; `progress` is 0..1. `attempts` is how
    often it was begun. Times have a zone. After `expires_at` the result is forgotten. `version` is
    "" for the model's default. `problem` says, as RFC 9457 does, why the job failed.
    """

    id: str
    state: str
    model: str
    version: str
    items: int
    done_items: int
    failed_items: int
    attempts: int
    progress: float
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    problem: Mapping[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state not in OPEN

    def error(self) -> ClientError:
        """What an item of it that will never have a result ends with."""
        if self.problem is not None:
            return error_of(self.problem.get("status", UNTOLD_STATUS), self.problem, "")
        return Conflict(f"the job was {self.state} before this was done", hint="submit it again")


# A part of the list, and what asks for the next, if there is one.
Page = tuple[list[JobStatus], str | None]


def status_of(document: Any) -> JobStatus:
    """The status from its JSON. Raises UnexpectedAnswer."""
    try:
        return JobStatus(
            document["id"],
            document["state"],
            document["model"],
            str(document.get("version") or ""),
            document["items"],
            document["done_items"],
            document["failed_items"],
            document["attempts"],
            document["progress"],
            datetime.fromisoformat(document["created_at"]),
            _time(document.get("started_at")),
            _time(document.get("ended_at")),
            _time(document.get("expires_at")),
            document.get("problem"),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise foreign("/jobs") from None


def page_of(document: Any) -> Page:
    """A part of the list from its JSON. Raises UnexpectedAnswer."""
    try:
        return [status_of(one) for one in document["jobs"]], document["next"] or None
    except (KeyError, TypeError):
        raise foreign("/jobs") from None


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
