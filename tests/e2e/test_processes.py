"""Done when: one supervisor, N workers, one engine; each dies and is replaced; all end together."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest

from inferctl.demo.samples import POSITIVE
from tests.e2e.conftest import Start
from tests.e2e.service import Service, wait_for_end
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

ENGINE, WORKER = "inferctl-engine", "inferctl-worker"


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_one_supervisor_n_workers_one_engine(start: Start) -> None:
    service = start("--workers", "3")

    assert len(service.pids(WORKER)) == 3
    assert len(service.pids(ENGINE)) == 1


def test_only_the_engine_maps_onnxruntime_and_nobody_torch(service: Service) -> None:
    service.post_json("/models/sentiment/predict", {"text": POSITIVE})
    (engine,) = service.pids(ENGINE)

    assert "onnxruntime" in mapped(engine)
    for pid in (service.process.pid, *service.pids(WORKER)):
        assert "onnxruntime" not in mapped(pid)
    for pid in (service.process.pid, engine, *service.pids(WORKER)):
        assert "libtorch" not in mapped(pid)


def test_the_supervisor_has_no_thread_that_could_hold_a_lock_in_a_fork(service: Service) -> None:
    assert len(list(Path(f"/proc/{service.process.pid}/task").iterdir())) == 1


def descriptors(pid: int) -> list[str]:
    return [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]


def sockets(pid: int) -> set[str]:
    return {name for name in descriptors(pid) if name.startswith("socket:")}


def test_no_process_holds_a_socket_that_tells_of_another_s_death(start: Start) -> None:
    """But what all workers listen on. One worker is the successor of one that was killed."""
    service = start("--workers", "3")
    os.kill(service.pids(WORKER)[0], signal.SIGKILL)
    service.wait_for_line("ready again")
    (engine,), workers = service.pids(ENGINE), service.pids(WORKER)
    # That one, the supervisor's, the engine's, and two with which a signal wakes the loop: of the
    # engine's the successor hears once it has said that it is ready.
    wait_until(lambda: all(len(sockets(pid)) >= 5 for pid in workers))

    listening = [sockets(pid) & sockets(service.process.pid) for pid in workers]

    assert [len(one) for one in listening] == [1, 1, 1]
    assert not sockets(engine) & sockets(service.process.pid)
    for one, other in combinations([engine, *workers], 2):
        assert not sockets(one) & sockets(other)
    for pid in workers:
        assert len(sockets(pid)) == 5
        assert descriptors(pid).count("anon_inode:[eventpoll]") == 1


def test_no_two_requests_get_the_same_id(service: Service) -> None:
    """Whichever worker they come to: every request is a connection of its own."""
    ids = [service.request("/livez").headers["x-request-id"] for _ in range(64)]

    assert len(set(ids)) == 64
    workers = len(service.pids(WORKER))  # where there are many, one may have had none
    assert min(2, workers) <= len({one[:8] for one in ids}) <= workers


def test_a_killed_engine_is_replaced_without_a_failed_request(start: Start) -> None:
    service = start()
    stop = threading.Event()
    statuses: list[int] = []
    lives: list[int] = []

    def ask() -> None:
        while not stop.is_set():
            statuses.append(
                service.post_json("/models/sentiment/predict", {"text": POSITIVE}).status
            )
            lives.append(service.request("/livez").status)

    client = threading.Thread(target=ask)
    client.start()
    os.kill(service.pids(ENGINE)[0], signal.SIGKILL)
    service.wait_for_line("ready again")
    stop.set()
    client.join()

    assert set(lives) == {200}
    assert set(statuses) <= {200, 503}
    assert service.post_json("/models/sentiment/predict", {"text": POSITIVE}).status == 200
    assert service.metric('inferctl_restarts_total{role="engine"}') == 1
    health = service.request("/health").json
    assert health["engine_restarts"] == 1
    assert (health["last_restart"]["role"], health["last_restart"]["reason"]) == (
        "engine",
        "killed",
    )
    assert health["last_restart"]["ago_s"] < health["uptime_s"]
    assert "the engine was started again" in str(health["warnings"])


def test_a_killed_worker_is_replaced_and_its_counters_go_on(start: Start) -> None:
    service = start("--workers", "1")
    for _ in range(3):
        service.post_json("/models/sentiment/predict", {"text": POSITIVE})
    (worker,) = service.pids(WORKER)

    os.kill(worker, signal.SIGKILL)
    wait_for_end([worker])

    # The listening socket outlives the worker: this request waits for the successor.
    assert service.request("/livez").status == 200
    assert service.pids(WORKER) != [worker]
    series = 'inference_requests_total{model="sentiment",outcome="ok"}'
    assert service.metric(series) == 3
    assert service.metric('inferctl_restarts_total{role="worker"}') == 1


@contextmanager
def request_held_in_the_queue(service: Service) -> Iterator[list[int]]:
    """A request that waits for its batch's window; afterwards its status."""
    statuses: list[int] = []
    client = threading.Thread(
        target=lambda: statuses.append(
            service.post_json("/models/sentiment/predict", {"text": POSITIVE}).status
        )
    )
    client.start()
    service.wait_for_metric('inferctl_queue_rows{model="sentiment"}', 1)
    yield statuses
    client.join()


@pytest.mark.row(96)
def test_sigterm_lets_a_request_in_flight_finish(start: Start) -> None:
    service = start("--set", "batching.max_wait_ms=1500", "--set", "batching.max_batch_rows=8")
    with request_held_in_the_queue(service) as statuses:
        code = service.stop()

    assert statuses == [200]
    assert code == 0


@pytest.mark.row(99)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(start: Start, number: signal.Signals) -> None:
    service = start("--set", "batching.max_wait_ms=4000", "--set", "batching.max_batch_rows=8")
    client = threading.Thread(target=_ask_and_forget, args=(service,))
    client.start()
    service.wait_for_metric('inferctl_queue_rows{model="sentiment"}', 1)
    service.process.send_signal(number)
    service.wait_for_line("draining")
    service.process.send_signal(number)

    assert service.process.wait(20) == 128 + number
    client.join()


def _ask_and_forget(service: Service) -> None:
    request = urllib.request.Request(
        service.url + "/models/sentiment/predict",
        data=b'{"text": "good"}',
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except OSError:
        return


def test_a_killed_supervisor_takes_its_children_along(start: Start) -> None:
    service = start()
    children = service.pids(ENGINE) + service.pids(WORKER)

    service.process.kill()
    service.process.wait()

    wait_for_end(children)


def test_an_engine_that_keeps_dying_ends_the_service(start: Start) -> None:
    """Half a service would look alive to whoever could start it again."""
    service = start("--workers", "1")
    for death in range(6):
        if death:
            service.wait_for_line("ready again", count=death)
        os.kill(service.pids(ENGINE)[0], signal.SIGKILL)

    service.wait_for_line("keeps dying")

    assert service.process.wait(20) == 3


def test_a_signal_to_the_whole_group_still_drains(start: Start) -> None:
    """As a service manager sends it: the engine must stay until the workers are done."""
    service = start("--set", "batching.max_wait_ms=1500", "--set", "batching.max_batch_rows=8")
    with request_held_in_the_queue(service) as statuses:
        for pid in (*service.pids(ENGINE), *service.pids(WORKER)):
            os.kill(pid, signal.SIGTERM)
        code = service.stop()

    assert statuses == [200]
    assert code == 0


@pytest.mark.row(98)
def test_a_signal_while_starting_ends_without_noise(start: Start) -> None:
    service = start(ready=False)
    service.wait_for_line("starting")

    assert service.stop() == 0
    assert not [line for line in service.lines if "Traceback" in line or "ready" in line.split()]


def test_a_log_whose_reader_left_does_not_end_the_supervision(start: Start) -> None:
    service = start("--workers", "1", deaf=True)
    (engine,) = service.pids(ENGINE)

    os.kill(engine, signal.SIGKILL)
    wait_for_end([engine])

    assert service.post_json("/models/sentiment/predict", {"text": POSITIVE}).status == 200
    assert service.stop() == 0
