"""Jobs of a running service: over HTTP as clients have them, and by its store as it has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from inferctl.deferral import JobsSettings
from inferctl.jobs.job import OPEN, Job, NewJob, Submitted, new_job_id
from inferctl.jobs.sqlite.store import SqliteStore
from tests.e2e.service import Answer, Service
from tests.faults.accounting import until

OVER_WITHIN_S = 60.0
PAGE = 10_000


@contextmanager
def store_of(folder: Path) -> Iterator[SqliteStore]:
    """The store of a service that runs there, or did."""
    state = folder / "state"
    with closing(SqliteStore(state, JobsSettings(path=str(state), max_jobs=PAGE))) as store:
        yield store


def submit(service: Service, model: str, *items: Any) -> str:
    """The id of a job that was accepted; of several items it is bulk."""
    asked = {"item": items[0]} if len(items) == 1 else {"items": items}
    answer = service.post_json("/jobs", {"model": model, **asked})
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def submit_all(folder: Path, model: str, items: Sequence[Any]) -> list[str]:
    """The ids of a job for each item, in one transaction."""
    jobs = [
        NewJob(new_job_id(), model, "", "", "application/json", [orjson.dumps(item)])
        for item in items
    ]
    with store_of(folder) as store:
        assert all(isinstance(outcome, Submitted) for outcome in store.submit(jobs))
    return [job.id for job in jobs]


def told(service: Service, job_id: str) -> Any:
    """What a poll says."""
    answer = service.request(f"/jobs/{job_id}")
    assert answer.status == 200, answer.body
    return answer.json


def cancel(service: Service, job_id: str) -> int:
    """The status of the answer."""
    return service.request(f"/jobs/{job_id}", method="DELETE").status


def result(service: Service, job_id: str) -> Answer:
    """The result as it is now."""
    return service.request(f"/jobs/{job_id}/result")


def wait_for(service: Service, job_id: str, *states: str) -> Any:
    """Poll until a job is in one of these states, or over; what is said of it then."""
    wanted = states or ("done", "failed", "cancelled")
    until(
        lambda: told(service, job_id)["state"] in wanted,
        OVER_WITHIN_S,
        lambda: told(service, job_id),
    )
    return told(service, job_id)


def jobs_of(folder: Path) -> dict[str, Job]:
    """All of them, by id."""
    with store_of(folder) as store:
        return {job.id: job for job in store.page(None, (), PAGE).jobs}


def wait_until_all_are_over(folder: Path) -> dict[str, Job]:
    """All of them, once none is open."""
    return _once(folder, lambda jobs: not any(job.state in OPEN for job in jobs.values()))


def wait_until_running(folder: Path, count: int) -> dict[str, Job]:
    """All of them, once so many are."""
    return _once(folder, lambda jobs: sum(job.state == "running" for job in jobs.values()) >= count)


def _once(folder: Path, condition: Callable[[dict[str, Job]], bool]) -> dict[str, Job]:
    give_up_s = time.monotonic() + OVER_WITHIN_S
    while not condition(jobs := jobs_of(folder)):
        assert time.monotonic() < give_up_s, jobs
        time.sleep(0.02)
    return jobs
