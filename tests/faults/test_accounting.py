"""The checks that every row ends with: they pass where all is well, and fail where it is not."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from inferctl.demo.samples import POSITIVE
from tests.e2e.service import Service
from tests.faults.accounting import Seen, accounted, survives, until

pytestmark = pytest.mark.e2e

SENTIMENT = "/models/sentiment/predict"


def ask(service: Service, seen: Seen, path: str, body: bytes | None, kind: str) -> None:
    seen.answered[service.request(path, body, {"Content-Type": kind}).status] += 1


def ask_all_kinds(service: Service, seen: Seen) -> None:
    """Requests of models and of routes, good and bad, in every dialect."""
    text = POSITIVE.encode()
    for path, body, kind in (
        (SENTIMENT, text, "text/plain"),
        (SENTIMENT, b"{", "application/json"),
        (SENTIMENT, b"\xff", "text/plain"),
        (SENTIMENT, text, "text/html"),
        ("/models/nothing/predict", text, "text/plain"),
        ("/predict", text, "text/plain"),
        ("/v1/models/sentiment:predict", b"[]", "application/json"),
        ("/v1/models/nothing:predict", b"[]", "application/json"),
        ("/v2/models/sentiment/infer", b"{}", "application/json"),
        ("/v2/repository/models/sentiment/load", b"", ""),
        ("/v2/repository/index", b"", ""),
        ("/models", b"", ""),
        ("/nowhere", b"", ""),
        ("/nowhere", None, ""),
        ("/healthz", None, ""),
        ("/models", None, ""),
        ("/models/nothing", None, ""),
        ("/page.css", None, ""),
        ("/docs", None, ""),
        ("/openapi.json", None, ""),
        ("/livez", None, ""),
        ("/readyz", None, ""),
    ):
        if path in ("/livez", "/readyz"):
            service.request(path)
        else:
            ask(service, seen, path, body, kind)


def leave(service: Service, seen: Seen) -> None:
    """A client that goes before its body is complete."""
    host, port = urlsplit(service.url).netloc.split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            f"POST {SENTIMENT} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9\r\n"
            "Content-Type: text/plain\r\n\r\ngood".encode()
        )
    seen.left += 1


def test_every_request_is_counted_once_and_logged_once(service: Service) -> None:
    for _ in range(10):  # threads and caches are there, the documentation's too, in every worker
        ask_all_kinds(service, Seen())
    with survives(service) as seen:
        ask_all_kinds(service, seen)
        leave(service, seen)

    assert set(seen.answered) >= {200, 400, 404, 405, 415, 501}


@pytest.mark.parametrize("answered", [{200: 2}, {200: 0}, {404: 1}])
def test_accounts_that_differ_are_found(service: Service, answered: dict[int, int]) -> None:
    account = accounted(service)
    seen = account.__enter__()
    service.request(SENTIMENT, b"good", {"Content-Type": "text/plain"})
    seen.answered.update(answered)

    with pytest.raises(AssertionError, match=r"logged \{200: 1"):
        account.__exit__(None, None, None)


def test_a_line_that_is_missing_in_the_log_is_found(service: Service) -> None:
    log = service.folder / "logs" / "requests.log"
    account = accounted(service)
    seen, lines = account.__enter__(), log.read_bytes()
    ask(service, seen, SENTIMENT, b"good", "text/plain")
    until(lambda: log.stat().st_size > len(lines), 1.0, lambda: "no line")
    log.write_bytes(lines)

    with pytest.raises(AssertionError, match="logged"):
        account.__exit__(None, None, None)


def test_connections_that_stay_are_found(service: Service) -> None:
    host, port = urlsplit(service.url).netloc.split(":")
    clients: list[socket.socket] = []
    with pytest.raises(AssertionError, match="descriptors: "), survives(service):
        clients += [socket.create_connection((host, int(port))) for _ in range(5)]
    for client in clients:
        client.close()
