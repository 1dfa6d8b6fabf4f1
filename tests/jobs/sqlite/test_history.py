"""Whatever happens in whatever order: a job ends once, and what one sees of it never changes."""

from __future__ import annotations

import random

import pytest

from inferctl.jobs.job import Claim, Job, Report, Result
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.refusals import Conflict
from tests.jobs.made import OWNER, bulk, end, put, record, release
from tests.jobs.sqlite.folder import StoreFolder

ITEMS = 4
STEPS = 400


class Worker:
    """Does jobs badly: it forgets leases, tells late and twice, and gives up."""

    def __init__(self, store: SqliteStore, name: str, dice: random.Random) -> None:
        self._store, self._name, self._dice = store, name, dice
        self._claims: list[Claim] = []

    def step(self) -> None:
        store, dice = self._store, self._dice
        if not self._claims or dice.random() < 0.2:
            self._claims += store.claim(OWNER, dice.randint(1, 3))
            return
        claim = dice.choice(self._claims)
        action = dice.choice(["record", "record", "finish", "fail", "release", "keep", "sweep"])
        if action == "record":
            items = store.items(claim, dice.randint(1, ITEMS), 10_000)
            record(store, claim, [self._result(item.number) for item in items])
        elif action == "finish":
            results = [self._result(item.number) for item in store.items(claim, ITEMS, 10_000)]
            store.report([Report(claim, results, "done")])
        elif action == "fail":
            end(store, claim, "failed", {"code": "internal_error"})
        elif action == "release":
            release(store, claim, dice.choice([0, 5]), charged=dice.random() < 0.5)
        elif action == "keep":
            store.keep(self._claims)
        else:
            store.sweep()

    def _result(self, number: int) -> Result:
        return Result(number, self._dice.choice([200, 422]), f"{self._name} {number}".encode())


@pytest.mark.row(134)
@pytest.mark.parametrize("seed", range(3))
def test_what_was_seen_of_a_job_stays(seed: int, sqlite: StoreFolder) -> None:
    dice = random.Random(seed)
    store = sqlite.open(max_attempts=5)
    workers = [Worker(sqlite.open(max_attempts=5), f"w{n}", dice) for n in range(3)]
    ids = [put(store, bulk(ITEMS)).id for _ in range(20)]
    seen: dict[str, tuple[Job, list[Result]]] = {}
    for _ in range(STEPS):
        dice.choice(workers).step()
        sqlite.clock.advance(dice.choice([0, 0, 1, 10]))
        if dice.random() < 0.02:
            cancel(store, dice.choice(ids))
        for job_id in dice.sample(ids, 3):
            look(store, job_id, seen)
    assert {job.state for job, _ in seen.values()} >= {"done", "failed"}


def cancel(store: SqliteStore, job_id: str) -> None:
    before = store.find(job_id, None)
    try:
        assert store.cancel(job_id, None).state == "cancelled"
    except Conflict:
        assert before.state in ("done", "failed")


def look(store: SqliteStore, job_id: str, seen: dict[str, tuple[Job, list[Result]]]) -> None:
    job, results = store.find(job_id, None), store.results(job_id, None, 0, ITEMS)
    assert len(results) == job.done_items
    assert sum(result.status != 200 for result in results) == job.failed_items
    earlier, earlier_results = seen.get(job_id, (job, []))
    assert set(earlier_results) <= set(results), "what was told is not taken back"
    assert job.revision >= earlier.revision
    if job.revision == earlier.revision or earlier.is_over:
        assert job == earlier
        assert results == earlier_results or job is earlier
    if job.state == "done":
        assert job.done_items == job.items
    seen[job_id] = (job, results)
