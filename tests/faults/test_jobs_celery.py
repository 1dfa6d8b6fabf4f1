"""What becomes of jobs on many machines when one of them dies, or Redis does.

Machines are services of their own here, each in its own folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import SERVE, Answer, Service
from tests.faults.accounting import until
from tests.faults.jobs import OVER_WITHIN_S
from tests.faults.kit import write_kit
from tests.jobs.redis_server import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

WORKER = (sys.executable, "-m", "inferctl", "jobs", "worker")
# A lease is told in whole, so that tests need not wait for the usual one.
LEASE_S, SWEEP_S = 2.0, 5.0
# What an item of `loop` takes is some milliseconds, so a job of these takes seconds; one of many
# lasts until another machine is there.
ITEMS, MANY_ITEMS, ROUNDS = 400, 2500, 20_000
# Four rows wait so long for a fifth, which never comes: a model that sleeps rather than computes.
SLEEPY = ("batching.max_wait_ms=200", "batching.max_batch_rows=8", "limits.max_concurrent=4")
SLEEPY_JOBS = 160

Machine = Callable[..., Service]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    write_kit(folder, "echo", "loop")
    return folder


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """It does not run yet."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, appendfsync="always")
    yield server
    server.kill()


@pytest.fixture
def machine(kit: Path, redis: RedisServer, tmp_path: Path) -> Iterator[Machine]:
    """Another machine that does jobs, by a command of `inferctl`."""
    running: list[Service] = []

    def begin(*settings: str, command: tuple[str, ...] = SERVE) -> Service:
        folder = tmp_path / f"machine-{len(running)}"
        folder.mkdir()
        arguments = [str(kit)]
        own = (
            "server.port=0", "server.workers=1", "jobs.backend=celery", f"jobs.lease_s={LEASE_S}",
            f"jobs.redis_url={redis.url}", *settings,
        )  # fmt: skip
        for setting in own:
            arguments += ["--set", setting]
        running.append(Service(arguments, folder, command=command))
        running[-1].wait_until_ready()
        return running[-1]

    yield begin
    for service in running:
        service.stop()


def submit(service: Service, items: int = 1, model: str = "echo") -> Answer:
    one = {"inputs": [[1, 2, 3, 4]]} if model == "echo" else {"inputs": [[ROUNDS]]}
    body: dict[str, Any] = {"model": model, "items": [one] * items}
    return service.post_json("/jobs", body)


def submitted(service: Service, items: int = 1, model: str = "echo") -> str:
    answer = submit(service, items, model)
    assert answer.status == 202, answer
    return str(answer.json["id"])


def status(service: Service, job_id: str) -> dict[str, Any]:
    """What is told of it; nothing while the store cannot be asked."""
    answer = service.request(f"/jobs/{job_id}")
    assert answer.status in (200, 503), answer
    return answer.json if answer.status == 200 else {}


def ended(service: Service, job_id: str, give_up_s: float = 60) -> dict[str, Any]:
    """Its status, once it is over; each item has one result."""
    until_s = time.monotonic() + give_up_s
    while (job := status(service, job_id)).get("state") not in ("done", "failed"):
        assert time.monotonic() < until_s, job
        time.sleep(0.05)
    lines = service.request(f"/jobs/{job_id}/result").body.splitlines()
    assert [json.loads(line)["item"] for line in lines] == list(range(job["items"]))
    return job


def in_a_job(machine: Machine, redis: RedisServer) -> tuple[Service, str]:
    """A machine in the middle of a job, and the job's id."""
    redis.start()
    service = machine()
    job_id = submitted(service, ITEMS, "loop")
    begun(service, job_id)
    return service, job_id


def handed_on(machine: Machine, redis: RedisServer) -> tuple[Service, Service, str]:
    """A machine that takes jobs in, another in the middle of one, and the job's id."""
    redis.start()
    front, worker = machine("jobs.run=false"), machine(command=WORKER)
    job_id = submitted(front, MANY_ITEMS, "loop")
    begun(front, job_id)
    return front, worker, job_id


def begun(service: Service, job_id: str) -> None:
    """Some of it is done, and some is not."""
    wait_until(lambda: status(service, job_id).get("done_items", 0) > 0)


def predicts(service: Service) -> float:
    """How long a request takes whose answer is right."""
    began_s = time.monotonic()
    answer = service.post_json("/models/echo/predict", {"inputs": [[1, 2, 3, 4]]})
    assert answer.status == 200, answer
    return time.monotonic() - began_s


def is_refused(service: Service) -> None:
    """A submission hears so in 2 s, and when to come again."""
    began_s = time.monotonic()
    answer = submit(service)
    assert time.monotonic() - began_s < 2
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.row(148)
def test_a_service_starts_without_redis_and_takes_jobs_once_it_is_there(
    machine: Machine, redis: RedisServer
) -> None:
    service = machine()
    predicts(service)
    is_refused(service)
    redis.start()
    began_s = time.monotonic()
    answer = wait_until(lambda: found if (found := submit(service)).status == 202 else None)
    assert answer is not None
    ended(service, answer.json["id"], 5)
    assert time.monotonic() - began_s < 5


@pytest.mark.row(149)
@pytest.mark.row(150)
@pytest.mark.parametrize("how", ["stop", "freeze"])
def test_while_redis_is_gone_predictions_go_on_and_submissions_hear_so(
    how: str, machine: Machine, redis: RedisServer
) -> None:
    redis.start()
    service = machine()
    ended(service, submitted(service))
    getattr(redis, how)()
    with ThreadPoolExecutor(9) as pool:
        asking = pool.submit(lambda: [predicts(service) for _ in range(100)])
        list(pool.map(is_refused, [service] * 8))
        assert max(asking.result()) < 0.5
    back = redis.thaw if how == "freeze" else redis.start
    back()
    wait_until(lambda: submit(service).status == 202)


@pytest.mark.row(151)
def test_a_job_ends_once_though_redis_died_in_the_middle_of_it(
    machine: Machine, redis: RedisServer
) -> None:
    service, job_id = in_a_job(machine, redis)
    redis.kill()
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        assert status(service, job_id) == {}
        predicts(service)
    redis.start()
    job = ended(service, job_id)
    assert (job["state"], job["done_items"]) == ("done", ITEMS)


@pytest.mark.row(154)
def test_what_a_machine_did_that_was_killed_another_goes_on_with(
    machine: Machine, redis: RedisServer
) -> None:
    front, first, job_id = handed_on(machine, redis)
    second = machine(command=WORKER)
    killed_s = time.monotonic()
    first.kill()
    until(lambda: status(front, job_id)["attempts"] == 2, 10, lambda: status(front, job_id))
    assert time.monotonic() - killed_s < LEASE_S + SWEEP_S + 1
    job = ended(front, job_id)
    assert (job["state"], job["attempts"]) == ("done", 2)
    assert second.metric('inferctl_jobs_total{state="done"}') == 1


@pytest.mark.row(155)
def test_what_a_worker_did_that_was_killed_its_successor_goes_on_with(
    machine: Machine, redis: RedisServer
) -> None:
    service, job_id = in_a_job(machine, redis)
    (worker,) = service.pids("inferctl-worker")
    killed_s = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: attempts(service, job_id) == 2)
    assert time.monotonic() - killed_s < 5
    assert ended(service, job_id)["state"] == "done"


def attempts(service: Service, job_id: str) -> int:
    """0 while nobody answers."""
    try:
        return int(status(service, job_id).get("attempts", 0))
    except OSError:
        return 0


@pytest.mark.row(156)
def test_a_machine_that_ends_hands_its_jobs_back_and_none_is_charged(
    machine: Machine, redis: RedisServer
) -> None:
    front, first, bulk = handed_on(machine, redis)
    waiting = [submitted(front) for _ in range(20)]
    second = machine(command=WORKER)
    assert first.stop() == 0
    job = ended(front, bulk)
    assert (job["state"], job["attempts"]) == ("done", 1)
    assert {ended(front, one)["state"] for one in waiting} == {"done"}
    assert second.metric('inferctl_jobs_total{state="done"}') > 0


@pytest.mark.row(153)
def test_a_redis_that_was_emptied_has_no_jobs_and_takes_new_ones(
    machine: Machine, redis: RedisServer
) -> None:
    service, job_id = in_a_job(machine, redis)
    redis.ask("FLUSHALL")
    assert service.request(f"/jobs/{job_id}").status == 404
    assert ended(service, submitted(service))["state"] == "done"
    assert service.metric('inferctl_restarts_total{role="worker"}') == 0


def test_two_machines_do_nearly_twice_as_much_as_one_and_one_goes_on_alone(
    machine: Machine, redis: RedisServer, say: Callable[[str], None]
) -> None:
    redis.start()
    front = machine("jobs.run=false")
    first = machine(*SLEEPY, command=WORKER)
    one_s = time_of_jobs(front)
    second = machine(*SLEEPY, command=WORKER)

    def does_some() -> bool:
        ended(front, submitted(front))
        return second.metric('inferctl_jobs_total{state="done"}') > 0

    until(does_some, OVER_WITHIN_S, lambda: "no id comes to the second machine")
    two_s = time_of_jobs(front)
    say(f"{SLEEPY_JOBS / one_s:.1f} jobs/s by one machine, {SLEEPY_JOBS / two_s:.1f} by two\n")
    assert one_s / two_s >= 1.8
    shares = [each.metric('inferctl_jobs_total{state="done"}') for each in (first, second)]
    assert min(shares) > 0

    ids = [submitted(front) for _ in range(SLEEPY_JOBS)]
    first.kill()
    for job_id in ids:
        assert ended(front, job_id)["state"] == "done"


def time_of_jobs(front: Service) -> float:
    """Seconds from the first submission to the last end."""
    began_s = time.monotonic()
    left = [submitted(front) for _ in range(SLEEPY_JOBS)]

    def are_done() -> bool:
        while left and status(front, left[0])["state"] == "done":
            left.pop(0)
        return not left

    until(are_done, OVER_WITHIN_S, lambda: (len(left), status(front, left[0])))
    return time.monotonic() - began_s
