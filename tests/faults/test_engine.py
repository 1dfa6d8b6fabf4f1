"""Rows that fail a batch, kill the engine, hang it, or want more memory than there is."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Start
from tests.e2e.service import Service

from .asking import BATCHES_OF_EIGHT, Told, ask, slowness, together
from .kit import ENDLESS, HUGE, LEAST, LONG, VOCABULARY, write_kit

pytestmark = pytest.mark.e2e

MAX_RUN_MS = 300
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, in the place of the demo's bundles."""
    folder = tmp_path_factory.mktemp("kit")
    write_kit(folder)
    return folder


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(
        [
            str(models), "--port", "0", "--workers", "2", *BATCHES_OF_EIGHT,
            "--set", f"runtime.max_run_ms={MAX_RUN_MS}",
            "--set", "server.request_timeout_ms=20000",
        ],
        tmp_path_factory.mktemp("service"),
    ) as running:  # fmt: skip
        yield running
    assert not [line for line in running.lines if "Traceback" in line]


def with_a_bad_one(bad: int) -> list[int]:
    """Seven good numbers, and the bad one in their middle."""
    return [1, 2, 3, 4, bad, 5, 6, 7]


def bad_one(told: list[Told], sign: int = 1) -> Told:
    """What the bad one was told; the others must have their own numbers back, or the negative."""
    good = [*told[:4], *told[5:]]
    assert [one.status for one in good] == [200] * 7, [one.content for one in told]
    assert [one.y for one in good] == [[sign * x] for x in range(1, 8)]
    return told[4]


def restarts(service: Service, reason: str) -> float:
    return service.metric(f'inferctl_engine_restarts_total{{reason="{reason}"}}')


@pytest.mark.row(80)
def test_a_row_that_fails_its_batch_fails_alone(service: Service) -> None:
    culprit = bad_one(together(service, "gather", with_a_bad_one(VOCABULARY)))

    assert (culprit.status, culprit.content["code"]) == (500, "row_failed")
    assert service.metric('inferctl_bisects_total{model="gather"}') == 1
    assert service.metric('inferctl_poisoned_rows_total{model="gather"}') == 1


@pytest.mark.row(85)
def test_a_row_that_wants_too_much_memory_fails_alone(service: Service) -> None:
    culprit = bad_one(together(service, "alloc", with_a_bad_one(HUGE)))

    assert (culprit.status, culprit.content["code"]) == (500, "out_of_memory")
    assert service.metric('inferctl_batch_cap_rows{model="alloc"}') == 0
    assert service.metric('inference_requests_total{model="alloc",outcome="out_of_memory"}') == 1


@pytest.mark.row(84)
def test_a_row_that_kills_the_engine_is_found_and_its_neighbours_are_answered(
    service: Service,
) -> None:
    crashes = restarts(service, "crash")

    told = together(service, "divmin", with_a_bad_one(LEAST))

    culprit = bad_one(told, sign=-1)
    assert (culprit.status, culprit.content["code"]) == (500, "engine_crash")
    assert restarts(service, "crash") == crashes + 2, "in its batch, and alone"
    assert max(one.took_s for one in told) < 3 * slowness(service)
    assert service.request("/readyz").status == 200


@pytest.mark.row(87)
def test_a_run_that_would_not_end_is_ended(service: Service) -> None:
    timeouts = service.metric("inferctl_engine_timeouts_total")

    culprit = bad_one(together(service, "loop", with_a_bad_one(ENDLESS)))

    assert (culprit.status, culprit.content["code"]) == (504, "deadline_exceeded")
    assert service.metric("inferctl_engine_timeouts_total") == timeouts + 2
    assert restarts(service, "timeout") == 0


@pytest.mark.row(88)
def test_a_run_that_nothing_ends_is_killed(service: Service) -> None:
    killed = restarts(service, "timeout")

    culprit = bad_one(together(service, "matmul", with_a_bad_one(LONG)))

    assert (culprit.status, culprit.content["code"]) == (504, "deadline_exceeded")
    # Alone it may have been ended before its one long node.
    assert restarts(service, "timeout") - killed in (1, 2)


@pytest.mark.row(88)
def test_an_engine_that_stands_still_is_killed(service: Service) -> None:
    killed = restarts(service, "timeout")
    (engine,) = service.pids("inferctl-engine")

    os.kill(engine, signal.SIGSTOP)
    told = together(service, "gather", range(8))

    assert [one.y for one in told] == [[x] for x in range(8)]
    assert restarts(service, "timeout") == killed + 1


@pytest.mark.row(8)
def test_a_run_that_nobody_waits_for_is_ended(start: Start) -> None:
    """Long before its limit of two seconds: the next one needs the only instance."""
    service = start("--workers", "1", "--set", "runtime.instances=1")
    (engine,) = service.pids("inferctl-engine")

    late = ask(service, "loop", [ENDLESS], timeout_ms=200)
    next_one = ask(service, "loop", [3])

    assert (late.status, late.content["code"]) == (504, "deadline_exceeded")
    assert 0.15 < late.took_s < 1
    assert next_one.y == [3]
    assert next_one.took_s < 1
    assert service.metric("inferctl_engine_timeouts_total") == 0
    assert service.pids("inferctl-engine") == [engine]


SOME_ROUNDS = 100_000  # a tenth of a second


@pytest.mark.row(20)
def test_a_client_that_leaves_a_running_batch_leaves_the_others_alone(service: Service) -> None:
    told: list[Told] = []
    others = threading.Thread(
        target=lambda: told.extend(together(service, "loop", [SOME_ROUNDS + x for x in range(7)]))
    )
    with socket.create_connection(_address(service)) as leaver:
        body = json.dumps({"inputs": [1]}).encode()
        leaver.sendall(
            b"POST /models/loop/predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        others.start()
        service.wait_for_metric('inferctl_in_flight{model="loop"}', 8)
    others.join()

    assert [one.status for one in told] == [200] * 7
    assert [one.y for one in told] == [[SOME_ROUNDS + x] for x in range(7)]


def _address(service: Service) -> tuple[str, int]:
    split = urlsplit(service.url)
    assert split.hostname
    assert split.port
    return split.hostname, split.port


@pytest.mark.row(86)
def test_a_batch_that_is_too_large_for_the_memory_is_halved_and_the_size_remembered(
    start: Start,
) -> None:
    service = start(*BATCHES_OF_EIGHT, "--set", "batching.max_batch_rows=auto")
    (engine,) = service.pids("inferctl-engine")
    together(service, "alloc", [64 * MIB] * 2)  # what it maps for a run it maps again
    pages = int(Path(f"/proc/{engine}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 6 * 64 * MIB
    resource.prlimit(engine, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    told = together(service, "alloc", [64 * MIB] * 8)

    assert [one.status for one in told] == [200] * 8
    assert service.metric('inferctl_batch_cap_rows{model="alloc"}') == 4
    assert service.metric('inferctl_max_batch_rows{model="alloc"}') == 4
