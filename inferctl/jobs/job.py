"""A job as all parts know it: values, and nothing that does anything."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "expired"]

STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled", "expired")
# What is in one of these stays as it is, but for its expiry.
TERMINAL: frozenset[State] = frozenset(("done", "failed", "cancelled", "expired"))
OPEN: frozenset[State] = frozenset(("queued", "running"))

JOB_ID = re.compile(r"[0-9a-f]{32}")


def new_job_id() -> str:
    """128 random bits: who was not told it cannot guess it."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a client asks for.

    `items` are bodies of predict requests, each of type `content_type`, `query` their options. A
    job of `is_bulk` answers in lines, one for each item, one that is not has a single item. `key`
    is the name of the API key that it came with, "" where there are none: nobody else sees it.
    `version` is "" for the model's default at the time it is done. `idempotency_key` is the
    client's, "" without one, and `fingerprint` what tells this request from others that have it.
    """

    id: str
    model: str
    version: str
    key: str
    content_type: str
    items: Sequence[bytes]
    query: str = ""
    is_bulk: bool = False
    idempotency_key: str = ""
    fingerprint: bytes = b""

    @property
    def size_bytes(self) -> int:
        """What its inputs take."""
        return sum(map(len, self.items))


@dataclass(frozen=True, slots=True)
class Job:
    """What became of one. Times are seconds since 1970.

    `items` are all, `done_items` those that have a result, `failed_items` those of them whose
    result is a problem. `attempts` are how often it was begun; `problem` says, as RFC 9457 does,
    why it failed. `revision` grows with every change that a poll can see. `expires_s` is when its
    result is forgotten, None while it is open.
    """

    id: str
    model: str
    version: str
    key: str
    state: State
    is_bulk: bool
    items: int
    done_items: int
    failed_items: int
    attempts: int
    revision: int
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    expires_s: float | None = None
    problem: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job is in the store, durably; `is_new` is False when it was before, by the same key."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What an item came to: an HTTP status, and the body that a predict request is answered with,
    a problem where `status` is not 200. `number` is the item's, from 0.
    """

    number: int
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """An item that is to be done."""

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that does jobs, as others on its machine can look whether it lives: `boot` is the
    kernel's boot id, `born_ticks` field 22 of /proc/PID/stat. `node` is the machine's own name.
    """

    node: str
    boot: str
    pid: int
    born_ticks: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that its owner is to do, until the lease ends. `fence` is the number of this claim:
    what comes with an older one is refused. `attempt` counts from 1; `is_last` is whether there is
    none after it. Of its `items` some are done already, and some of those failed.
    """

    id: str
    fence: int
    attempt: int
    is_last: bool
    model: str
    version: str
    content_type: str
    query: str
    is_bulk: bool
    items: int
    done_items: int
    failed_items: int = 0

    @property
    def is_alone(self) -> bool:
        """Whether it is done beside no other job: those that did it before have all failed."""
        return self.is_last and self.attempt > 1


@dataclass(frozen=True, slots=True)
class Report:
    """What a claim came to since its last report: results, and how it ends, if it does.

    It is `done`, or `failed`, for which there may be a `problem`; or it is `queued` again, see
    `Store.report` for `after_s` and `charged`.
    """

    claim: Claim
    results: Sequence[Result] = ()
    state: Literal["done", "failed", "queued"] | None = None
    problem: dict[str, Any] | None = None
    after_s: float = 0
    charged: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, the newest first; `next` asks for the rest, "" at its end."""

    jobs: Sequence[Job]
    next: str = ""


@dataclass(slots=True)
class Swept:
    """What a sweep found: claims whose owner is gone and that are queued again, those that had no
    attempt left and failed, results that expired; what is there now; whether it ended before all
    was done, so that the next one should come soon; and in how many seconds there is something to
    do that nobody but a sweep does."""

    redelivered: int = 0
    exhausted: int = 0
    expired: int = 0
    by_state: dict[State, int] = field(default_factory=dict)
    unfinished: bool = False
    due_s: float = math.inf
