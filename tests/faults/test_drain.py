"""A service that ends, or is replaced by another one, fails no request that it was sent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import asking
from tests.e2e.multiples import Shelf
from tests.e2e.service import Service
from tests.faults.accounting import ENGINE, WORKER, until
from tests.faults.kit import VOCABULARY, write_kit
from tests.faults.test_reload import slow

pytestmark = pytest.mark.e2e

Serve = Callable[..., Service]
# The longest deadline of a request here, and what it may take beyond it.
DEADLINE_S, GRACE_S = 5.0, 2.0
STOP_S = 5.0
LOADING_WITHIN_S = 10.0
ROW = {"inputs": [1, 2, 3, 4]}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder with a small model."""
    shelf = Shelf(tmp_path)
    shelf.put(1)
    return shelf


@pytest.fixture
def serve(shelf: Shelf, tmp_path: Path) -> Iterator[Serve]:
    """Start services on it, side by side; they end with the test."""
    services: list[Service] = []

    def serve_it(*arguments: str) -> Service:
        service = Service([str(shelf.models), "--workers", "2", *arguments], tmp_path)
        services.append(service)
        service.wait_until_ready()
        return service

    yield serve_it
    for service in services:
        service.stop()


def replace_under_load(serve: Serve, restarts: int, clients: int) -> None:
    service = serve("--port", "0")
    port = service.url.rpartition(":")[2]
    with asking(service, clients) as crowd:
        for _ in range(restarts):
            successor = serve("--port", port, "--set", "server.share_port=true")
            begun_s = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - begun_s < DEADLINE_S + GRACE_S
            service = successor

    assert crowd.failures == []
    assert crowd.versions.total() > restarts * clients


@pytest.mark.row(96)
def test_a_service_is_replaced_under_load_and_nobody_notices(serve: Serve) -> None:
    replace_under_load(serve, restarts=2, clients=16)


@pytest.mark.row(96)
@pytest.mark.faults
def test_of_20_restarts_under_64_clients_nobody_notices_anything(serve: Serve) -> None:
    replace_under_load(serve, restarts=20, clients=64)


@pytest.mark.row(96)
def test_readiness_goes_first(serve: Serve) -> None:
    """For a time to be set all goes on: whoever looks at /readyz sends nobody here any more."""
    service = serve("--port", "0", "--set", "server.drain_delay_s=60")
    service.process.send_signal(signal.SIGTERM)
    service.wait_for_line("draining")

    ready = service.request("/readyz")
    assert (ready.status, service.request("/health").json["status"]) == (503, "draining")
    answer = service.post_json("/predict", ROW)
    assert answer.status == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(GRACE_S) == 128 + signal.SIGTERM


@pytest.mark.row(96)
def test_who_is_replaced_in_the_time_before_a_stop_serves_on(serve: Serve) -> None:
    service = serve("--port", "0", "--set", "server.drain_delay_s=60")
    service.process.send_signal(signal.SIGTERM)
    service.wait_for_line("draining")
    for name in (ENGINE, WORKER):
        os.kill(service.pids(name)[0], signal.SIGKILL)
    service.wait_for_line("ready again", 2)

    assert service.post_json("/predict", ROW).status == 200
    assert service.request("/readyz").status == 503
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(GRACE_S) == 128 + signal.SIGINT


def stopped_within(service: Service, seconds: float) -> int:
    begun_s = time.monotonic()
    code = service.stop()
    assert time.monotonic() - begun_s < seconds
    return code


@pytest.mark.row(98)
def test_a_stop_while_the_engine_is_replaced(serve: Serve) -> None:
    service = serve("--port", "0")
    os.kill(service.pids(ENGINE)[0], signal.SIGKILL)
    service.wait_for_line("died")

    assert stopped_within(service, STOP_S) == 0


def is_loading(service: Service) -> bool:
    """Whether there is a version that is not served yet, and about to be."""
    index = service.request("/v2/repository/index", b"").json
    return "LOADING" in {version["state"] for version in index}


@pytest.mark.row(98)
def test_a_stop_while_a_version_is_loaded(serve: Serve, shelf: Shelf) -> None:
    service = serve("--port", "0", "--set", "server.admin=true")
    shelf.put(2, slow())
    service.process.send_signal(signal.SIGHUP)
    until(lambda: is_loading(service), LOADING_WITHIN_S, lambda: service.lines)

    assert stopped_within(service, STOP_S) == 0
    assert not any("reloaded" in line for line in service.lines)


@pytest.mark.row(98)
def test_a_stop_while_batches_fail_and_are_run_in_parts(tmp_path: Path) -> None:
    write_kit(tmp_path / "kit", "gather")
    service = Service([str(tmp_path / "kit"), "--port", "0"], tmp_path)
    service.wait_until_ready()
    rows = [[1], [2], [VOCABULARY], [3]]
    answered: list[int] = []

    def ask(row: list[int]) -> None:
        with contextlib.suppress(OSError):  # it no longer listens
            while True:
                answered.append(service.post_json("/predict", {"inputs": row}).status)

    clients = [threading.Thread(target=ask, args=(row,)) for row in rows]
    for client in clients:
        client.start()
    service.wait_for_metric('inference_requests_total{model="gather",outcome="row_failed"}', 1)
    code = stopped_within(service, STOP_S)
    for client in clients:
        client.join()

    assert code == 0
    assert set(answered) == {200, 500}
