"""A server is found by its URL."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from connections import find_server


def test_the_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` may be ::1 too, where nobody listens; if nobody does at all, the first."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = listener.getsockname()
    refusing = ("127.0.0.2", address[1])
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, 1, 6, "", one) for one in (refusing, address)],
    )
    url = f"http://localhost:{address[1]}"
    with closing(socket.create_server(address)):
        assert find_server(url).address == address
    assert find_server(url).address == refusing


def test_https_has_a_port_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """And checks who answers."""
    ports = []

    def resolve(host: str, port: int, **_: object) -> list[object]:
        ports.append(port)
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    assert find_server("http://h").tls is None
    tls = find_server("https://h").tls
    assert tls is not None
    assert tls.check_hostname
    assert ports == [80, 443]
