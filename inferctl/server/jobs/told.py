"""What is told of jobs: their status, the list of them, lines of results."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel, Field

from inferctl.arena.routes import JOBS
from inferctl.jobs.job import Job, Page, Result, State
from inferctl.server.call import retry_after

OK_STATUS = 200
# Who polls is told to come back after this share of the time that it has waited.
POLL_SHARE = 0.1
SHORTEST_POLL_S, LONGEST_POLL_S = 0.1, 30.0

# How many results are read of the store at once: first few, as nobody knows how large they are;
# then what makes a page if all are as large as the largest was, but not many more than before.
FIRST_PAGE, MOST_IN_PAGE, GROWTH = 4, 64, 4
PAGE_BYTES = 1024 * 1024


class JobStatus(BaseModel):
    """A job. Times are RFC 3339 in UTC, null for what has not come yet; so is `version` where the
    model's default is meant. `problem` is there when it failed."""

    id: str
    state: State
    model: str
    version: str | None
    items: int
    done_items: int = Field(description="those that have a result")
    failed_items: int = Field(description="those whose result is a problem")
    attempts: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    expires_at: str | None
    progress: float = Field(ge=0, le=1)
    result: str
    problem: dict[str, Any] | None = None

    def written(self) -> bytes:
        """As JSON."""
        return self.model_dump_json(exclude=None if self.problem else {"problem"}).encode()


class JobList(BaseModel):
    """A part of the list, the newest first; `next` is the `after` of the rest."""

    jobs: list[JobStatus]
    next: str | None


class ResultLine(BaseModel):
    """A line of a bulk job's result: `result` is what a predict request would be answered, or
    `problem` why not."""

    item: int
    status: int
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


def path_of(job_id: str) -> str:
    """Where a job is found."""
    return f"{JOBS}/{job_id}"


def status_of(job: Job) -> JobStatus:
    """What a poll is told."""
    return JobStatus(
        id=job.id,
        state=job.state,
        model=job.model,
        version=job.version or None,
        items=job.items,
        done_items=job.done_items,
        failed_items=job.failed_items,
        attempts=job.attempts,
        created_at=_at(job.created_s),
        started_at=_at_if(job.started_s),
        ended_at=_at_if(job.ended_s),
        expires_at=_at_if(job.expires_s),
        progress=round(job.done_items / job.items, 4) if job.items else 0.0,
        result=f"{path_of(job.id)}/result",
        problem=job.problem,
    )


def list_of(page: Page) -> bytes:
    """A part of the list, as JSON."""
    jobs = b",".join(status_of(job).written() for job in page.jobs)
    return b'{"jobs":[%b],"next":%b}' % (jobs, orjson.dumps(page.next or None))


def etag_of(job: Job) -> str:
    """Another one with each change that a poll can see."""
    return f'"{job.revision}"'


def poll_after_s(job: Job) -> float:
    """When to ask again for one that is open, by how old it is."""
    age_s = time.time() - job.created_s
    return min(max(POLL_SHARE * age_s, SHORTEST_POLL_S), LONGEST_POLL_S)


def poll_advice(job: Job) -> bytes:
    """The header lines that say so; none once it is over."""
    return b"" if job.is_over else retry_after(poll_after_s(job))


def line_of(result: Result) -> bytes:
    """A line of a bulk job's result; the body has no line ends."""
    name = b"result" if result.status == OK_STATUS else b"problem"
    return b'{"item":%d,"status":%d,"%b":%b}\n' % (result.number, result.status, name, result.body)


def next_page(results: int, largest_bytes: int) -> int:
    """How many results to read after so many, with the largest line until then."""
    return min(max(PAGE_BYTES // largest_bytes, 1), GROWTH * results, MOST_IN_PAGE)


def _at(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds")


def _at_if(moment_s: float | None) -> str | None:
    return None if moment_s is None else _at(moment_s)
