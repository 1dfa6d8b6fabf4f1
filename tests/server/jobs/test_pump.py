"""What becomes of jobs in a worker: done, tried again, handed back; and nobody else is hurt."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.wire import Verdict, encode_records
from inferctl.jobs import pauses
from inferctl.jobs.job import NewJob, Owner, Swept, new_job_id
from inferctl.jobs.owners import this_process
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import Store, StoreUnavailable
from inferctl.server.jobs import floor, pump
from tests.jobs.made import end, release
from tests.server.loop import look_once, until
from tests.server.wiring import few_slots
from tests.tasks.tinybundles import numbers

from .wiring import BROKEN, ROW, another, pumping

ROW_BODY = [b'{"inputs":[1,2,3,4]}']


async def test_a_job_is_done_as_predict_does_it(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers()) as site:
        job = await site.reaches(site.submit(ROW))
        assert (job.state, job.done_items, job.attempts) == ("done", 1, 1)
        (result,) = site.store.results(job.id, None, 0, 9)
        assert result.status == 200
        assert b'"model":"sums","version":3' in result.body
        await until(lambda: site.counted("inferctl_jobs_total", value="done") == 1)
        assert site.counted("inference_requests_total", value="ok") == 1
        assert site.counted("inferctl_job_items_total", value="ok") == 1
    (line,) = site.worker.logged()
    assert (line["route"], line["method"], line["model"]) == ("/jobs", "JOB", "sums")
    assert line["request_id"] == f"{job.id}.0"


@pytest.mark.parametrize(
    ("item", "model", "status", "code"),
    [(BROKEN, "sums", 422, "unprocessable"), (ROW, "unknown", 404, "not_found")],
)
async def test_what_can_never_be_done_fails_with_its_problem(
    tmp_path: Path, item: dict[str, Any], model: str, status: int, code: str
) -> None:
    async with pumping(tmp_path, numbers()) as site:
        job = await site.reaches(site.submit(item, model=model))
        assert (job.state, job.attempts) == ("failed", 1)
        assert job.problem is not None
        assert (job.problem["status"], job.problem["code"]) == (status, code)


async def test_a_bulk_job_is_done_where_some_items_fail_and_failed_where_all_do(
    tmp_path: Path,
) -> None:
    async with pumping(tmp_path, numbers()) as site:
        some = await site.reaches(site.submit(ROW, BROKEN, ROW))
        every = await site.reaches(site.submit(BROKEN, BROKEN))
        assert (some.state, some.done_items, some.failed_items) == ("done", 3, 1)
        assert site.statuses(some.id) == [200, 422, 200]
        assert (every.state, every.failed_items) == ("failed", 2)
        assert every.problem is not None
        assert every.problem["code"] == "unprocessable"


async def test_no_more_is_under_way_than_fills_batches_and_jobs_take_turns(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), window=4, verdict=None) as site:
        bulk = site.submit(*[ROW] * 40)
        first = await site.rows(4)
        await look_once()
        assert site.worker.engine.submitted.empty()
        alone = [site.submit(ROW) for _ in range(3)]
        await until(lambda: len(site.pump._floor.attempts) == 4)
        site.answer(first)
        site.answer(await site.rows(4))
        for job in alone:
            assert (await site.reaches(job)).state == "done"
        assert site.job(bulk).done_items <= 5
        for _ in range(8):
            site.answer(await site.rows(4))
        site.answer(await site.rows(3))
        assert (await site.reaches(bulk)).state == "done"


async def test_bulk_jobs_are_taken_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "LOOK_EVERY_S", 60)
    async with pumping(tmp_path, numbers(), window=8, verdict=None) as site:
        await site.reaches(site.submit(*[ROW] * 20), "running")
        others = [site.submit(ROW, ROW) for _ in range(3)]
        await site.reaches(others[0], "running")
        await asyncio.sleep(20 * pump.GATHER_S)
        assert [site.job(job).state for job in others] == ["running", "queued", "queued"]


async def test_nothing_is_taken_beside_a_last_attempt(tmp_path: Path) -> None:
    ids = list[str]()

    def fail_once(store: SqliteStore) -> None:
        job = NewJob("1" * 32, "sums", "", "", "application/json", ROW_BODY)
        store.submit([job])
        (claim,) = store.claim(another(), 1)
        release(store, claim, charged=True)
        ids.append(job.id)

    async with pumping(
        tmp_path, numbers(), window=8, verdict=None, jobs={"max_attempts": 2}, before=[fail_once]
    ) as site:
        rows = await site.rows(1)
        other = site.submit(ROW)
        await asyncio.sleep(20 * pump.GATHER_S)
        assert site.job(other).attempts == 0
        site.answer(rows)
        await site.reaches(*ids)
        site.answer(await site.rows(1))
        assert (await site.reaches(other)).state == "done"


@pytest.mark.row(135)
@pytest.mark.parametrize("stall_s", [60, 0.001])
async def test_a_last_attempt_waits_until_nothing_else_is_being_done(
    stall_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow it is."""
    monkeypatch.setattr(pump, "LOOK_EVERY_S", 60)
    monkeypatch.setattr(floor, "STALL_S", stall_s)
    async with pumping(
        tmp_path, numbers(), window=8, verdict=None, jobs={"max_attempts": 2}
    ) as site:
        before = site.submit(ROW)
        rows = await site.rows(1)
        await until(lambda: not site.pump._news.is_set())
        last = new_job_id()
        site.store.submit([NewJob(last, "sums", "", "", "application/json", ROW_BODY)])
        (claim,) = site.store.claim(another(), 1, only=last)
        release(site.store, claim, charged=True)
        after = site.submit(ROW)
        await asyncio.sleep(20 * pump.GATHER_S)
        assert [site.job(one).attempts for one in (before, last, after)] == [1, 1, 0]
        site.answer(rows)
        rows = await site.rows(1)
        assert [site.job(one).attempts for one in (last, after)] == [2, 0]
        site.answer(rows)
        site.answer(await site.rows(1))
        assert (await site.reaches(after)).state == "done"


async def test_jobs_that_have_one_attempt_are_done_beside_each_other(tmp_path: Path) -> None:
    async with pumping(
        tmp_path, numbers(), window=8, verdict=None, jobs={"max_attempts": 1}
    ) as site:
        for _ in range(3):
            site.submit(ROW)
        site.answer(await site.rows(3))


async def test_a_bulk_job_goes_on_where_it_was(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(*[ROW] * 5)
        site.answer(await site.rows(2))
        await site.becomes(job, lambda found: found.done_items == 2)
        site.pump.drain(0)
        await site.ends()
        assert site.job(job).state == "queued"
    async with pumping(tmp_path, numbers()) as site:
        found = await site.reaches(job)
        assert (found.state, found.attempts) == ("done", 1)
        assert site.counted("inferctl_job_items_total", value="ok") == 3


async def test_what_kills_the_engine_is_begun_again_and_fails_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 0.001)
    async with pumping(tmp_path, numbers(), verdict=Verdict.CRASHED) as site:
        job = await site.reaches(site.submit(ROW))
        assert (job.state, job.attempts) == ("failed", 3)
        assert job.problem is not None
        assert job.problem["code"] == "engine_crash"
        assert site.counted("inferctl_job_items_total", value="engine_crash") == 3


async def test_the_next_attempt_comes_after_a_while(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=Verdict.CRASHED) as site:
        job = site.submit(ROW)
        await site.becomes(job, lambda found: found.state == "queued" and found.attempts)
        assert site.store.claim(another(), 9) == []


@pytest.mark.parametrize("verdict", [Verdict.UNLOADED, Verdict.EXPIRED])
async def test_what_found_no_room_is_asked_again_and_nothing_is_charged(
    tmp_path: Path, verdict: Verdict
) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROW)
        (row,) = await site.rows(1)
        # It was not begun: the engine only says so.
        site.worker.models[0].arena.started_s[row[1]] = 0
        site.worker.engine.send(encode_records([(row[1], row[0], verdict)]))
        site.answer(await site.rows(1))
        found = await site.reaches(job)
        assert (found.state, found.attempts) == ("done", 1)


async def test_a_run_that_took_too_long_is_charged(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=Verdict.TIMED_OUT) as site:
        job = site.submit(ROW)
        await site.becomes(job, lambda found: found.state == "queued" and found.attempts == 1)


async def test_a_full_queue_is_waited_out(tmp_path: Path) -> None:
    """Of two places one is another request's."""
    async with pumping(
        tmp_path, numbers(), verdict=None, slots=1, settings=few_slots(max_concurrent=2)
    ) as site:
        jobs = [site.submit(ROW) for _ in range(2)]
        while not all(site.job(job).is_over for job in jobs):
            await look_once()
            while not site.worker.engine.submitted.empty():
                site.answer(await site.rows(1))
        assert [site.job(job).attempts for job in jobs] == [1, 1]
        assert site.counted("inferctl_job_items_total", value="overloaded") >= 1


@pytest.mark.row(143)
async def test_what_is_cancelled_is_let_go_and_has_no_result(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None, jobs={"lease_s": 0.5}) as site:
        job = site.submit(*[ROW] * 5)
        rows = await site.rows(2)
        site.answer(rows[:1])
        await site.becomes(job, lambda found: found.done_items)
        site.store.cancel(job, None)
        await until(lambda: site.counted("inferctl_job_items_total", value="client_gone"))
        site.answer(rows[1:])
        assert site.job(job).state == "cancelled"
        assert site.statuses(job) == [200]
        assert site.counted("inferctl_job_stale_results_total") == 0


@pytest.mark.row(134)
async def test_a_result_of_an_older_claim_changes_nothing(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROW)
        rows = await site.rows(1)
        site.store.cancel(job, None)
        site.store.retry(job)
        (other,) = site.store.claim(another(), 1)
        site.answer(rows)
        await until(lambda: site.counted("inferctl_job_stale_results_total") == 1)
        assert site.statuses(job) == []
        assert end(site.store, other, "done")


async def test_a_job_that_comes_back_before_it_was_missed_is_done(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROW)
        old = await site.rows(1)
        site.store.cancel(job, None)
        site.store.retry(job)
        site.pump.wake()
        new = await site.rows(1)
        assert len(site.pump._floor.attempts) == 1
        site.answer(old + new)
        assert (await site.reaches(job)).state == "done"


ROWS = {"items": [ROW, ROW]}


@pytest.mark.parametrize("verdict", [Verdict.UNLOADED, Verdict.EXPIRED])
async def test_a_passing_trouble_of_one_of_many_in_a_body_is_no_result(
    tmp_path: Path, verdict: Verdict
) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROWS)
        one, other = await site.rows(2)
        site.worker.models[0].arena.started_s[other[1]] = 0
        site.answer([one])
        site.worker.engine.send(encode_records([(other[1], other[0], verdict)]))
        site.answer(await site.rows(2))
        found = await site.reaches(job)
        (result,) = site.store.results(job, None, 0, 9)
        assert (found.state, found.attempts) == ("done", 1)
        assert b"problem" not in result.body
        assert result.body.count(b"inference_ms") == 2


async def test_what_the_engine_has_holds_no_decoder(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        jobs = [site.submit(ROWS)]
        rows = await site.rows(2)
        jobs.append(site.submit(ROW))
        site.answer(rows + await site.rows(1))
        assert [(await site.reaches(job)).state for job in jobs] == ["done", "done"]


@pytest.mark.parametrize("verdict", [Verdict.CRASHED, Verdict.TIMED_OUT])
async def test_what_ends_one_of_many_in_a_body_is_charged_and_its_own_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_S", 0.001)
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROWS)
        for _ in range(3):
            one, other = await site.rows(2)
            site.answer([one])
            site.worker.engine.answer(other, verdict)
        found = await site.reaches(job)
        (result,) = site.store.results(job, None, 0, 9)
        assert (found.state, found.attempts, result.status) == ("done", 3, 200)


async def test_a_lease_is_renewed_while_items_are_under_way(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None, jobs={"lease_s": 0.5}, index=1) as site:
        job = site.submit(ROW)
        rows = await site.rows(1)
        await asyncio.sleep(0.8)
        assert site.store.sweep().redelivered == 0
        site.answer(rows)
        assert (await site.reaches(job)).attempts == 1


@pytest.mark.row(147)
async def test_a_drain_lets_end_what_is_under_way_and_hands_back_the_rest(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        jobs = [site.submit(ROW) for _ in range(6)]
        rows = await site.rows(2)
        site.pump.drain(5)
        site.answer(rows)
        await site.ends()
        found = [site.job(job) for job in jobs]
        assert [job.state for job in found] == ["done"] * 2 + ["queued"] * 4
        assert [job.attempts for job in found] == [1] * 2 + [0] * 4


@pytest.mark.row(147)
async def test_what_does_not_end_in_time_is_handed_back_too(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None) as site:
        job = site.submit(ROW)
        await site.rows(1)
        site.pump.drain(0)
        await site.ends()
        assert (site.job(job).state, site.job(job).attempts) == ("queued", 0)


async def test_nothing_is_begun_once_the_service_ends(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers()) as site:
        site.worker.service_ends()
        job = site.submit(ROW)
        await asyncio.sleep(2 * pump.LOOK_EVERY_S)
        assert site.job(job).state == "queued"


async def test_a_store_that_cannot_be_used_is_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tries = []

    def open_store(settings: Any) -> Store:
        tries.append(settings)
        if len(tries) < 3:
            raise StoreUnavailable("the job store is away")
        return SqliteStore(Path(settings.path), settings)

    async with pumping(tmp_path, numbers(), open_store=open_store) as site:
        assert (await site.reaches(site.submit(ROW))).state == "done"
        assert site.counted("inferctl_job_store_errors_total") == 2
    said = "".join(capfd.readouterr())
    assert said.count("the job store cannot be used") == 1
    assert said.count("the job store can be used again") == 1


async def test_a_bug_costs_a_pause_and_not_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pump, "LONGEST_BACKOFF_S", 0.01)
    async with pumping(tmp_path, numbers(), verdict=None, jobs={"lease_s": 0.5}) as site:
        job = site.submit(ROW)
        (row,) = await site.rows(1)
        with monkeypatch.context() as broken:
            broken.setattr(pump.Trip, "go", lambda *_: 1 / 0)
            await until(lambda: site.counted("inferctl_job_items_total", value="client_gone"))
            assert site.pump._floor.attempts == []
        site.answer([row, *await site.rows(1)])
        assert (await site.reaches(job)).attempts == 2
    assert "ZeroDivisionError" in "".join(capfd.readouterr())


async def test_what_a_bug_leaves_of_an_item_fails_its_job_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strays: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, stray: strays.append(stray))
    make = floor.ItemRun
    runs = iter([lambda *_: 1 / 0])
    monkeypatch.setattr(floor, "ItemRun", lambda *given: next(runs, make)(*given))
    async with pumping(tmp_path, numbers()) as site:
        found = [await site.reaches(job) for job in [site.submit(ROW) for _ in range(2)]]
        assert sorted(job.state for job in found) == ["done", "failed"]
    assert [type(stray["exception"]) for stray in strays] == [ZeroDivisionError]


async def test_what_is_another_service_s_is_left_alone(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), ours=False) as site:
        job = site.submit(ROW)
        await asyncio.sleep(2 * pump.LOOK_EVERY_S)
        assert site.job(job).state == "queued"


@pytest.mark.row(133)
@pytest.mark.parametrize("index", [0, 1])
async def test_jobs_of_the_dead_are_done_at_the_birth_of_a_worker(
    tmp_path: Path, index: int
) -> None:
    dead = Owner(**{**owner_fields(), "born_ticks": 1})
    ids = []

    def begin(store: SqliteStore) -> None:
        job = NewJob("0" * 32, "sums", "", "", "application/json", ROW_BODY)
        store.submit([job])
        ids.append(store.claim(dead, 1)[0].id)

    async with pumping(tmp_path, numbers(), before=[begin], index=index) as site:
        job = await site.reaches(ids[0])
        assert (job.state, job.attempts) == ("done", 2)
        assert site.counted("inferctl_job_redeliveries_total") == 1


def owner_fields() -> dict[str, Any]:
    here = this_process()
    return {"node": here.node, "boot": here.boot, "pid": here.pid}


async def test_bodies_are_fetched_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "ROOM_BYTES", 10)
    async with pumping(tmp_path, numbers()) as site:
        jobs = [site.submit(*[ROW] * 3), site.submit(ROW), site.submit(*[ROW] * 5)]
        for job in jobs:
            assert (await site.reaches(job)).state == "done"


@pytest.mark.parametrize("bodies", [{}, {"ROOM_BYTES": 10}])
async def test_a_model_with_which_nothing_goes_on_stops_no_other_s_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bodies: dict[str, int]
) -> None:
    monkeypatch.setattr(floor, "STALL_S", 0.05)
    for name, size in bodies.items():
        monkeypatch.setattr(pump, name, size)
    async with pumping(tmp_path, numbers(), numbers(name="stuck"), verdict=None) as site:
        stuck = [site.submit(ROW, model="stuck") for _ in range(8)]
        await site.rows(2)
        job = site.submit(ROW)
        site.answer(await site.rows(1))
        assert (await site.reaches(job)).state == "done"
        await until(lambda: [site.job(one).state for one in stuck].count("running") <= 4)
        assert {site.job(one).attempts for one in stuck} == {0, 1}


async def test_what_is_offered_alone_is_done_where_others_find_the_jobs(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), jobs={"backend": "celery"}) as site:
        job, other = site.submit(ROW), site.submit(ROW)
        assert await asyncio.wrap_future(site.pump.offer(job))
        assert not await asyncio.wrap_future(site.pump.offer(job)), "it is done"
        assert [site.job(one).state for one in (job, other)] == ["done", "queued"]
        site.pump.drain(0)
        assert not await asyncio.wrap_future(site.pump.offer(other))


async def test_nobody_waits_for_the_end_of_a_bulk_job_that_was_offered(tmp_path: Path) -> None:
    async with pumping(tmp_path, numbers(), verdict=None, jobs={"backend": "celery"}) as site:
        job = site.submit(*[ROW] * 9)
        assert await asyncio.wrap_future(site.pump.offer(job))
        assert site.job(job).state == "running"


async def test_nobody_waits_for_what_a_bug_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump.Trip, "go", lambda *_: 1 / 0)
    async with pumping(tmp_path, numbers(), jobs={"backend": "celery"}) as site:
        assert not await asyncio.wrap_future(site.pump.offer(site.submit(ROW)))


async def test_a_sweep_comes_when_something_is_due_that_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "LEAST_SWEEP_S", 0.01)
    monkeypatch.setattr(pump, "SWEEP_EVERY_S", 600)
    swept: list[Swept] = []

    def sweep(_: Store) -> Swept:
        swept.append(Swept(due_s=0.02 if len(swept) < 2 else math.inf))
        return swept[-1]

    monkeypatch.setattr(SqliteStore, "sweep", sweep)
    async with pumping(tmp_path, numbers()):
        await until(lambda: len(swept) == 3)


async def test_the_first_worker_says_how_many_jobs_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "SWEEP_EVERY_S", 0.01)
    async with pumping(tmp_path, numbers(), verdict=None, window=2) as site:
        for _ in range(5):
            site.submit(ROW)
        await until(lambda: site.counted("inferctl_jobs_open", value="running") == 2)
        assert site.counted("inferctl_jobs_open", value="queued") == 3
