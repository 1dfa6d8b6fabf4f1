"""More requests than can be served, and deadlines that cannot be kept: FAULTS, section O."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.heavy import BODY, write_heavy
from inferctl.bench.exposition import read_metrics
from tests.e2e.service import Answer, Service
from tests.faults.kit import write_kit

pytestmark = pytest.mark.e2e

ROW_MS = 25
JSON = {"Content-Type": "application/json"}
ROWS, DROPPED = "inferctl_rows_total", 'inferctl_dropped_total{model="heavy",reason="cancelled"}'
GONE = 'inference_requests_total{model="heavy",outcome="client_gone"}'
IN_FLIGHT = "inferctl_in_flight"
TIMEOUT = "X-Request-Timeout-Ms"
LARGE = 100_000


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose model takes 25 ms of one core for a row, and runs one at a time."""
    folder = tmp_path_factory.mktemp("heavy")
    write_heavy(folder / "models", ROW_MS)
    settings = ("runtime.instances=1", "batching.max_batch_rows=1", "server.workers=1")
    with Service(
        [str(folder / "models"), "--port", "0", *(f"--set={setting}" for setting in settings)],
        folder,
    ) as running:
        yield running


def predict(service: Service, **headers: str) -> Answer:
    return service.request("/predict", BODY, JSON | headers)


class Client:
    """A connection with one request on its way."""

    def __init__(self, service: Service, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
        self._connection.request("POST", "/predict", BODY, JSON | headers)

    def status(self) -> int:
        answer = self._connection.getresponse()
        answer.read()
        self._connection.close()
        return answer.status

    def leave(self) -> None:
        self._connection.close()


@contextmanager
def crowd(service: Service, count: int) -> Iterator[list[Client]]:
    """Clients whose requests wait until the end of the block: the engine stands still."""
    (engine,) = service.pids("inferctl-engine")
    os.kill(engine, signal.SIGSTOP)
    try:
        clients = [Client(service) for _ in range(count)]
        service.wait_for_metric(IN_FLIGHT, count)
        yield clients
    finally:
        os.kill(engine, signal.SIGCONT)


def is_empty(service: Service) -> bool:
    return service.metric(IN_FLIGHT) == service.metric("inferctl_queue_rows") == 0


def wait_until_empty(service: Service) -> None:
    give_up_s = time.monotonic() + 30
    while not is_empty(service):
        assert time.monotonic() < give_up_s


@pytest.mark.row(7)
def test_a_deadline_that_is_shorter_than_the_queue_costs_no_run(heavy: Service) -> None:
    rows_before = heavy.metric(ROWS)
    with crowd(heavy, 20) as waiting:
        hurried = [Client(heavy, **{TIMEOUT: timeout_ms}) for timeout_ms in ("1", "10", "50") * 5]
        # 408 where even the body, sent after its head, came too late.
        assert {client.status() for client in hurried} <= {408, 429, 504}
    assert [client.status() for client in waiting] == [200] * 20
    wait_until_empty(heavy)
    assert heavy.metric(ROWS) - rows_before == 20


@pytest.mark.row(19)
def test_who_leaves_while_queued_never_reaches_the_engine(heavy: Service) -> None:
    rows_before, dropped_before = heavy.metric(ROWS), heavy.metric(DROPPED)
    gone_before = heavy.metric(GONE)
    with crowd(heavy, 20) as waiting:
        leaving, staying = waiting[10:], waiting[:10]
        for client in leaving:
            client.leave()
        heavy.wait_for_metric(GONE, gone_before + 10)
    assert [client.status() for client in staying] == [200] * 10
    wait_until_empty(heavy)
    assert heavy.metric(ROWS) - rows_before == 10
    assert heavy.metric(DROPPED) - dropped_before == 10


@pytest.mark.row(13)
@pytest.mark.faults
def test_a_trickle_waits_for_nobody(heavy: Service) -> None:
    """Of some requests one after the other, the machine disturbs not all."""
    waited_ms = []
    for _ in range(5):
        answer = predict(heavy)
        phases = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
        waited_ms.append(float(phases["total"]) - float(phases["inference"]))
    assert min(waited_ms) <= 5


@pytest.mark.row(9)
def test_a_deadline_is_a_whole_number_and_a_long_one_is_shortened(heavy: Service) -> None:
    for junk in ("0", "-1", "abc", "1e9", ""):
        assert predict(heavy, **{TIMEOUT: junk}).status == 400
    for long in ("1000000000", "1" + 400 * "0"):
        assert predict(heavy, **{TIMEOUT: long}).status == 200


@pytest.mark.row(10)
def test_a_burst_at_idle_is_answered_or_told_when_to_come_back(service: Service) -> None:
    """The demo's own models, with batches as large as they like."""
    together = threading.Barrier(200)
    address = urlsplit(service.url).netloc
    body = json.dumps({"text": "what a film"}).encode()

    def ask(_: int) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.connect()
        together.wait()
        connection.request("POST", "/models/sentiment/predict", body, JSON)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers["Retry-After"]

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    assert {status for status, _ in answers} <= {200, 429}
    assert all((status == 429) == (after is not None) for status, after in answers)
    largest = int(service.metric('inferctl_max_batch_rows{model="sentiment"}'))
    assert batches_above(service, largest) == 0


def batches_above(service: Service, rows: int) -> float:
    """Batches of `sentiment` that were larger than this, as far as the buckets tell."""
    scrape = read_metrics(service.request("/metrics").body.decode())
    of_it = ("model", "sentiment")
    counts = {
        float(dict(labels)["le"]): count
        for (name, labels), count in scrape.items()
        if name == "inference_batch_size_bucket" and of_it in labels
    }
    # Now and then a batch of the next size is tried.
    return counts[float("inf")] - next(n for size, n in sorted(counts.items()) if size >= 2 * rows)


@pytest.mark.row(15)
def test_while_memory_is_short_large_bodies_are_refused_and_small_requests_served(
    tmp_path: Path,
) -> None:
    write_kit(tmp_path / "models", "echo")
    with Service(
        [str(tmp_path / "models"), "--port", "0", "--set", "server.memory_limit_bytes=1000000"],
        tmp_path,
    ) as service:
        small = json.dumps({"inputs": [1, 2, 3, 4]}).encode()
        assert service.request("/predict", small, JSON).status == 200
        refused = service.request("/predict", small.ljust(LARGE), JSON)
        assert (refused.status, refused.json["code"]) == (429, "overloaded")
        assert "memory" in refused.json["detail"]
        assert refused.headers["retry-after"]
        assert service.metric('inferctl_shed_total{model="echo",reason="memory"}') == 1
        assert service.request("/predict", small, JSON).status == 200


@pytest.mark.row(21)
@pytest.mark.faults
def test_a_thousand_clients_that_do_not_wait_leave_nothing_behind(heavy: Service) -> None:
    rows_before = heavy.metric(ROWS)
    alone_ms = min(timed_ms(heavy) for _ in range(3))
    clients = [Client(heavy) for _ in range(1000)]
    for client in clients:  # by now those that came first wait for much more than 50 ms
        client.leave()
    wait_until_empty(heavy)
    assert min(timed_ms(heavy) for _ in range(3)) <= 1.2 * alone_ms
    assert heavy.metric(ROWS) - rows_before < 100


def timed_ms(service: Service) -> float:
    begun_s = time.monotonic()
    assert predict(service).status == 200
    return 1000 * (time.monotonic() - begun_s)
