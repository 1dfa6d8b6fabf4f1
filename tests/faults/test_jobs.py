"""An accepted job is done whatever dies meanwhile, has one result, and keeps nobody waiting."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.accounting import WORKER, until
from tests.faults.jobs import (
    cancel,
    jobs_of,
    result,
    store_of,
    submit,
    submit_all,
    told,
    wait_for,
    wait_until_all_are_over,
    wait_until_running,
)
from tests.faults.kit import LEAST, write_kit

pytestmark = pytest.mark.e2e

ROW = {"inputs": [1, 2, 3, 4]}
# So many rounds of the kit's loop take about half a second.
SHORT = 300_000
# What a poll after a start may take beyond it, where the lease still has 15 s.
AT_ONCE_S = 5.0
ROUNDS = [2, pytest.param(100, marks=pytest.mark.faults)]


def serve(folder: Path, *settings: str) -> Service:
    arguments = [str(folder / "models"), "--port", "0", "--workers", "2"]
    for setting in ("runtime.device=cpu", *settings):
        arguments += ["--set", setting]
    return Service(arguments, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a service finds a model that is quick, one that takes its time, one that can die."""
    write_kit(tmp_path / "models", "echo", "loop", "divmin")
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    with serve(folder, "jobs.lease_s=2") as running:
        yield running


@pytest.mark.row(132)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_what_was_accepted_survives_the_death_of_everything(folder: Path, rounds: int) -> None:
    """Each 202 that a client saw is of a job that is known after the restart, and ends done."""
    accepted: list[str] = []
    with ExitStack() as stack:
        for number in range(rounds):
            service = serve(folder)
            stack.callback(service.stop)
            service.wait_until_ready()
            accepted.append(submit(service, "echo", {"inputs": [number, 0, 0, 0]}))
            service.kill()
        with serve(folder) as service:
            for number, job_id in enumerate(accepted):
                assert wait_for(service, job_id)["state"] == "done"
                answer = result(service, job_id).json
                assert answer["outputs"]["y"] == [number, 0, 0, 0]


@pytest.mark.row(133)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_what_was_being_done_is_done_again_by_the_next(folder: Path, rounds: int) -> None:
    """At once, and it has one result."""
    with ExitStack() as stack:
        service = serve(folder)
        for number in range(rounds):
            stack.callback(service.stop)
            service.wait_until_ready()
            job_id = submit(service, "loop", {"inputs": [SHORT + number]})
            wait_until_running(folder, 1)
            service.kill()
            service = serve(folder)
            service.wait_until_ready()
            begun_s = time.monotonic()
            job = wait_for(service, job_id)
            assert time.monotonic() - begun_s < AT_ONCE_S
            assert (job["state"], job["done_items"]) == ("done", 1)
            assert job["attempts"] <= 2
            assert result(service, job_id).json["outputs"]["y"] == [SHORT + number]
        service.stop()
    assert len(jobs_of(folder)) == rounds
    with closing(sqlite3.connect(folder / "state" / "jobs.sqlite3")) as database:
        ((results,),) = database.execute("SELECT count(*) FROM results").fetchall()
    assert results == rounds


@pytest.mark.row(133)
def test_a_worker_that_died_leaves_its_jobs_to_others(service: Service, folder: Path) -> None:
    jobs = submit_all(folder, "loop", [{"inputs": [SHORT + number]} for number in range(4)])
    wait_until_running(folder, 2)
    for pid in service.pids(WORKER):
        os.kill(pid, signal.SIGKILL)
    found = wait_until_all_are_over(folder)
    assert [found[job].state for job in jobs] == ["done"] * 4
    assert max(found[job].attempts for job in jobs) == 2
    service.wait_for_line("ready again", 2)
    service.wait_for_metric("inferctl_job_redeliveries_total", 1)


@pytest.mark.faults
@pytest.mark.row(134)
def test_who_comes_back_after_its_lease_changes_nothing(service: Service, folder: Path) -> None:
    """Others are not asked while it is stopped: the kernel would send some of them to it."""
    (job_id,) = submit_all(folder, "loop", [{"inputs": [SHORT]}])
    wait_until_running(folder, 1)
    with closing(sqlite3.connect(folder / "state" / "jobs.sqlite3")) as database:
        ((zombie,),) = database.execute("SELECT pid FROM jobs").fetchall()
    os.kill(zombie, signal.SIGSTOP)
    try:
        job = wait_until_all_are_over(folder)[job_id]
    finally:
        os.kill(zombie, signal.SIGCONT)
    assert (job.state, job.attempts) == ("done", 2)
    service.wait_for_metric("inferctl_job_stale_results_total", 1)
    assert jobs_of(folder)[job_id] == job
    with store_of(folder) as store:
        assert len(store.results(job_id, None, 0, 9)) == 1
    assert zombie in service.pids(WORKER), "nobody killed it meanwhile"


@pytest.mark.row(135)
def test_what_kills_the_engine_fails_and_others_are_done(service: Service) -> None:
    poison = submit(service, "divmin", {"inputs": [LEAST]})
    others = [submit(service, "echo", ROW) for _ in range(5)]
    some = submit(service, "divmin", *({"inputs": [x]} for x in (5, LEAST, 7)))
    for job_id in others:
        assert wait_for(service, job_id)["state"] == "done"
    job = wait_for(service, poison)
    assert (job["state"], job["attempts"]) == ("failed", 3)
    assert job["problem"]["code"] == "engine_crash"
    job = wait_for(service, some)
    assert (job["state"], job["done_items"], job["failed_items"]) == ("done", 3, 1)
    assert service.metric('inferctl_jobs_total{state="failed"}') == 1
    assert service.post_json("/models/echo/predict", ROW).status == 200


def garbage(store: Path) -> None:
    """Pages of the file are written over, behind its header."""
    with store.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (store.stat().st_size - 4096))


def file_deleted(store: Path) -> None:
    store.unlink()


def log_deleted(store: Path) -> None:
    store.with_name(f"{store.name}-wal").unlink()


@pytest.mark.row(137)
@pytest.mark.parametrize("damage", [garbage, file_deleted, log_deleted])
def test_a_store_that_is_ruined_while_it_is_used_takes_nothing_else_along(
    folder: Path, damage: object
) -> None:
    with serve(folder) as service:
        for _ in range(20):  # the workers have it open
            wait_for(service, submit(service, "echo", ROW))
        assert callable(damage)
        damage(folder / "state" / "jobs.sqlite3")
        until(
            lambda: {
                service.post_json("/jobs", {"model": "echo", "item": ROW}).status
                for _ in range(4)
            } == {503},
            10.0,
            lambda: "jobs are taken in",
        )  # fmt: skip
        answer = service.post_json("/jobs", {"model": "echo", "item": ROW})
        assert "Retry-After" in {name.title() for name in answer.headers}
        for _ in range(20):
            assert service.post_json("/models/echo/predict", ROW).status == 200
        assert service.request("/readyz").status == 200
        assert service.metric("inferctl_job_store_errors_total") >= 1
        assert service.metric("inferctl_restarts_total") == 0


@pytest.mark.row(143)
def test_jobs_are_cancelled_as_far_as_they_can_be(service: Service, folder: Path) -> None:
    running = submit(service, "loop", *({"inputs": [SHORT + n]} for n in range(50)))
    wait_for(service, running, "running")
    assert [cancel(service, running), cancel(service, running)] == [200, 200]
    assert told(service, running)["state"] == "cancelled"
    until(lambda: service.metric('inferctl_in_flight{model="loop"}') == 0, 10, lambda: "under way")
    done = submit(service, "echo", ROW)
    assert wait_for(service, done)["state"] == "done"
    assert cancel(service, done) == 409
    assert told(service, running)["done_items"] < 50


@pytest.mark.row(147)
def test_the_end_of_a_service_costs_no_job_an_attempt(folder: Path) -> None:
    with serve(folder, "batching.max_batch_rows=1") as service:
        slow = submit_all(folder, "loop", [{"inputs": [SHORT]} for _ in range(4)])
        queued = submit_all(folder, "echo", [ROW] * 500)
        wait_until_running(folder, 4)
        assert service.stop() == 0
    left = jobs_of(folder)
    assert len(left) == 504
    assert {job.state for job in left.values()} <= {"done", "queued"}
    assert all(job.attempts == (job.state == "done") for job in left.values())
    with serve(folder) as service:
        found = wait_until_all_are_over(folder)
    assert [found[job].state for job in (*slow, *queued)] == ["done"] * 504
    assert {job.attempts for job in found.values()} == {1}
