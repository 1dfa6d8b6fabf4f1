"""The host has no descriptors left, or the service no room for more connections."""

from __future__ import annotations

import resource
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Start
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

TICKS_PER_S = 100


def worker_cpu_s(service: Service) -> float:
    """So far, of all workers."""
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in service.pids("inferctl-worker")]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(own[11]) + int(own[12]) for own in fields) / TICKS_PER_S


def health(service: Service) -> int:
    return service.request("/health", headers={"Connection": "close"}).status


@pytest.mark.row(123)
@pytest.mark.parametrize("said", [b"", b"GET /livez HT"], ids=["silent", "half a head"])
def test_a_service_whose_descriptors_are_all_in_use_is_healthy(start: Start, said: bytes) -> None:
    service = start("--set=server.workers=1", "--set=server.max_connections=100000", ready=False)
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (128, 128))
    service.wait_until_ready()
    url = urlsplit(service.url)
    clients = []
    for _ in range(300):
        client = socket.create_connection((url.hostname, url.port), timeout=30)
        client.sendall(said)
        clients.append(client)
    assert [health(service) for _ in range(20)] == [200] * 20

    begun_s, before_s, lines = time.monotonic(), worker_cpu_s(service), len(service.lines)
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(1)  # it lives, and nobody asks anything
    took_s = time.monotonic() - begun_s
    assert worker_cpu_s(service) - before_s <= 0.05 * took_s
    assert len(service.lines) - lines <= took_s + 1

    for client in clients:
        client.close()
    assert health(service) == 200
    assert not any("Traceback" in line for line in service.lines)
    closed = 'inferctl_connections_closed_total{reason="evicted"}'
    assert service.metric(closed) >= 200


@pytest.mark.row(123)
def test_connections_that_are_turned_away_are_told_of_once_in_a_while(start: Start) -> None:
    """All that there is room for are in work."""
    service = start("--set=server.workers=1", "--set=server.max_connections=8")
    url = urlsplit(service.url)
    body = (
        b"POST /models/sentiment/predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 9000\r\n\r\n"
    )
    clients = []
    for number in range(208):
        client = socket.create_connection((url.hostname, url.port), timeout=30)
        clients.append(client)
        if number < 8:
            client.sendall(body)
    for client in clients[8:]:
        assert client.recv(1) == b""
    service.wait_for_line("no room for more connections")
    for client in clients:
        client.close()
    service.wait_for_metric('inferctl_connections_closed_total{reason="conn_cap"}', 200)
    assert sum("no room" in line for line in service.lines) <= 2
