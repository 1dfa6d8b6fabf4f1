"""A service that ends, or is replaced by another one, fails no request that it was sent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import asking
from tests.e2e.multiples import Shelf
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

Serve = Callable[..., Service]
# The longest deadline of a request here, and what it may take beyond it.
DEADLINE_S, GRACE_S = 5.0, 2.0


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services on a small model, side by side; they end with the test."""
    shelf = Shelf(tmp_path)
    shelf.put(1)
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
    answer = service.post_json("/predict", {"inputs": [1, 2, 3, 4]})
    assert answer.status == 200
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(GRACE_S) == 128 + signal.SIGTERM
