"""Jobs as tests hand them in, and have them begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from inferctl.jobs.job import Claim, Job, NewJob, Report, Result, Submitted, new_job_id
from inferctl.jobs.owners import this_process
from inferctl.jobs.store import Store

MOST_SWEEPS = 1000
OpenStore = Callable[..., Store]

# It lives for as long as a test does: what it lost, it lost by its lease.
OWNER = this_process()
RIGHT, WRONG = Result(0, 200, b'{"y": 1}'), Result(1, 422, b'{"code": "unprocessable"}')


def new(*items: bytes, **more: Any) -> NewJob:
    job = NewJob(new_job_id(), "m", "", "alice", "application/json", items or (b"{}",))
    return replace(job, **more)


def bulk(count: int, **more: Any) -> NewJob:
    return new(*(b"%d" % number for number in range(count)), is_bulk=True, **more)


def put(store: Store, job: NewJob | None = None) -> Job:
    (outcome,) = store.submit([job or new()])
    assert isinstance(outcome, Submitted), outcome
    return outcome.job


def begun(store: Store, job: NewJob | None = None) -> Claim:
    (claim,) = store.claim(OWNER, 1, only=put(store, job).id)
    return claim


def done(store: Store, job: NewJob | None = None) -> str:
    """The id of one that is."""
    claim = begun(store, job)
    assert store.report([Report(claim, [RIGHT], "done")]) == set()
    return claim.id


def swept(store: Store) -> None:
    """All that is to be done, however slow this machine is."""
    for _ in range(MOST_SWEEPS):
        if not store.sweep().unfinished:
            return
    raise AssertionError(f"{MOST_SWEEPS} sweeps have not done all")


def record(store: Store, claim: Claim, results: Sequence[Result]) -> bool:
    """Whether the claim counts, with which these came."""
    return not store.report([Report(claim, results)])


def end(
    store: Store, claim: Claim, state: Literal["done", "failed"],
    problem: dict[str, Any] | None = None, results: Sequence[Result] = (),
) -> bool:  # fmt: skip
    """Whether the claim counts that ends so."""
    return not store.report([Report(claim, results, state, problem)])


def release(store: Store, claim: Claim, after_s: float = 0, *, charged: bool) -> bool:
    """Whether the claim counts that is handed back."""
    return not store.report([Report(claim, (), "queued", None, after_s, charged)])
