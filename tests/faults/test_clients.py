"""3.C and 3.H against a running service: clients that come, say little, and stay."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Start
from tests.e2e.service import Service
from tests.faults.accounting import until

pytestmark = pytest.mark.e2e

LIMIT_S = 0.5
LIMITS = tuple(
    f"--set=server.{name}={value}"
    for name, value in {
        "workers": 2, "first_byte_timeout_s": LIMIT_S, "header_timeout_s": LIMIT_S,
        "body_timeout_s": LIMIT_S, "write_timeout_s": LIMIT_S, "request_timeout_ms": 30_000,
    }.items()
)  # fmt: skip
HOST = b"Host: localhost\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
BODY = b"POST /models/sentiment/predict HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST
CLOSED = "inferctl_connections_closed_total"


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service in a hurry."""
    folder = tmp_path_factory.mktemp("hurry")
    with Service([str(models / "sentiment"), "--port", "0", *LIMITS], folder) as running:
        yield running
    assert not any("Traceback" in line for line in running.lines), "".join(running.lines)


def connect(service: Service) -> socket.socket:
    url = urlsplit(service.url)
    return socket.create_connection((url.hostname, url.port), timeout=30)


def connect_many(service: Service, count: int, begun: bytes = b"") -> list[socket.socket]:
    """So many, each of which says so much at once: it has not for ever."""
    clients = []
    for _ in range(count):
        clients.append(connect(service))
        clients[-1].sendall(begun)
    return clients


def read_to_the_end(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65_536):
        data += part
    return data


def is_live(client: socket.socket) -> bool:
    """Whether it is answered."""
    client.sendall(LIVEZ)
    data = b""
    while not data.endswith(b'{"live":true}'):
        part = client.recv(4096)
        assert part, data
        data += part
    return data.startswith(b"HTTP/1.1 200 ")


def closed(service: Service, reason: str) -> float:
    return service.metric(f'{CLOSED}{{reason="{reason}"}}')


def descriptors(service: Service) -> int:
    """That the workers have open."""
    workers = service.pids("inferctl-worker")
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers)


def trickle(clients: list[socket.socket], byte: bytes, begun_s: float) -> list[float]:
    """Send each a byte now and then; how long since then each was kept, in seconds."""
    kept_s = []
    waiting = set(clients)
    while waiting:
        for client in select.select(waiting, [], [], LIMIT_S / 5)[0]:
            waiting.discard(client)
            kept_s.append(time.monotonic() - begun_s)
        for client in waiting:
            client.send(byte)
        assert time.monotonic() - begun_s < 20 * LIMIT_S, f"{len(waiting)} are never closed"
    return kept_s


@pytest.mark.row(28)
def test_slow_heads_are_closed_and_others_served_meanwhile(service: Service) -> None:
    before = closed(service, "header_timeout")
    clients = connect_many(service, 300, b"GET /livez HTTP/1.1\r\nX: ")
    assert service.request("/livez").status == 200
    kept_s = trickle(clients, b"x", time.monotonic())
    assert max(kept_s) < 2 * LIMIT_S + 1
    for client in clients:
        assert read_to_the_end(client).startswith(b"HTTP/1.1 408 ")
        client.close()
    service.wait_for_metric(f'{CLOSED}{{reason="header_timeout"}}', before + 300)


@pytest.mark.row(29)
@pytest.mark.parametrize(
    "start", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n400\r\n"]
)
def test_slow_bodies_are_closed(service: Service, start: bytes) -> None:
    before = closed(service, "body_timeout")
    begun_s = time.monotonic()
    clients = connect_many(service, 100, BODY + start)
    kept_s = trickle(clients, b" ", begun_s)
    assert min(kept_s) > LIMIT_S / 2
    for client in clients:
        answer = read_to_the_end(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        client.close()
    service.wait_for_metric(f'{CLOSED}{{reason="body_timeout"}}', before + 100)


@pytest.mark.row(30)
def test_silent_clients_are_closed_without_a_word(service: Service) -> None:
    before = closed(service, "first_byte")
    clients = connect_many(service, 300)
    assert service.request("/livez").status == 200
    for client in clients:
        assert read_to_the_end(client) == b""
        client.close()
    service.wait_for_metric(f'{CLOSED}{{reason="first_byte"}}', before + 300)


@pytest.mark.row(26)
def test_who_comes_and_goes_leaves_nothing(service: Service) -> None:
    service.request("/livez")
    before, lines = descriptors(service), len(service.lines)
    for _ in range(10_000):
        connect(service).close()
    until(lambda: abs(descriptors(service) - before) <= 2, 10, lambda: "connections are left open")
    assert service.metric("inferctl_connections") <= 3
    assert len(service.lines) == lines


HUGE = {
    "header": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 2**23, b"431"),
    "headers": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: x\r\n" * 100_000, b"431"),
    "target": (b"GET /" + b"x" * 2**20, b"414"),
    "extension": (
        BODY + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (15 * 2**20), b"413",
    ),
}  # fmt: skip


@pytest.mark.row(32, 33, 36)
@pytest.mark.parametrize(("data", "status"), HUGE.values(), ids=HUGE)
def test_what_is_huge_is_refused_and_not_held(service: Service, data: bytes, status: bytes) -> None:
    """A client that is still sending sees its answer."""
    memory = 'inferctl_process_resident_memory_bytes{role="worker"}'
    before = 0.0
    for number in range(12):
        if number == 4:  # the first ones fill what is kept for the next
            before = service.metric(memory)
        with connect(service) as client:
            client.sendall(data)
            assert read_to_the_end(client).startswith(b"HTTP/1.1 " + status)
    assert service.metric(memory) - before <= 2**20


@pytest.mark.row(23)
def test_who_does_not_read_is_cut_off(service: Service) -> None:
    before = closed(service, "write_stall")
    ask = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
    with connect(service) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(LIMIT_S / 5)
        with pytest.raises(TimeoutError):
            client.sendall(ask * 1_000_000)
        service.wait_for_metric(f'{CLOSED}{{reason="write_stall"}}', before + 1)
    assert service.request("/livez").status == 200


@pytest.mark.row(42)
@pytest.mark.faults
def test_a_hundred_thousand_paths_leave_nothing_behind(start: Start) -> None:
    service = start("--set=server.workers=1")
    memory = 'inferctl_process_resident_memory_bytes{role="worker"}'
    service.metric(memory)  # or its own series would come in between
    seen = []
    with connect(service) as client:
        answers = client.makefile("rb")
        for number in range(100_000):
            client.sendall(b"GET /odd/%d HTTP/1.1\r\n%b\r\n" % (number, HOST))
            status, size = answers.readline(), 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split()[1])
            answers.read(size)
            assert status.startswith(b"HTTP/1.1 404 ")
            if number in (10_000, 99_999):
                series = service.request("/metrics").body.count(b"\n")
                seen.append((series, service.metric(memory)))
        answers.close()
    (before, before_bytes), (after, after_bytes) = seen
    assert after == before
    assert after_bytes - before_bytes <= 5 * 2**20


@pytest.mark.row(31)
def test_who_is_idle_for_longest_makes_room(start: Start) -> None:
    service = start("--set=server.max_connections=64", "--set=server.workers=1")
    clients = connect_many(service, 64)
    assert all(is_live(client) for client in clients)
    with connect(service) as new:
        assert is_live(new)
    assert read_to_the_end(clients[0]) == b"", "the oldest"
    assert all(is_live(client) for client in clients[2:])
    for client in clients:
        client.close()
    assert closed(service, "evicted") >= 1
