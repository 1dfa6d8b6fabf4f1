"""The port: free, another program's, or a service's that says of what."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from inferctl.doctor.findings import Finding
from inferctl.doctor.port import owner_of, port_findings
from inferctl.settings import ServerSettings

HOST = "127.0.0.1"


def port_of(port: int, host: str = HOST, *, share: bool = False) -> Finding:
    (found,) = port_findings(ServerSettings(host=host, port=port, share_port=share))
    return found


class Healthy(BaseHTTPRequestHandler):
    """Answers as a service does."""

    answer = b'{"status": "ok", "models": {"shapes": {}, "words": {}}}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Other(Healthy):
    """Speaks HTTP, and is no service of ours."""

    answer = b"<html>hello</html>"


@contextmanager
def serving(handler: type[Healthy]) -> Iterator[int]:
    with HTTPServer((HOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_free_port_is_ok_and_free_afterwards() -> None:
    with socket.create_server((HOST, 0)) as sock:
        port = sock.getsockname()[1]
    assert port_of(port).status == port_of(port).status == "ok"
    assert port_of(0).finding == "one that is free on 127.0.0.1 can be listened on"


def test_a_port_that_is_taken_is_named_with_who_has_it() -> None:
    with socket.create_server((HOST, 0)) as sock:
        port = sock.getsockname()[1]
        found = port_of(port)
    assert found.status == "fail"
    assert f"{HOST}:{port} is another program's" in found.finding
    assert f"(process {os.getpid()})" in found.finding
    assert "--port" in found.fix


def test_a_program_that_speaks_http_is_no_service_of_ours() -> None:
    with serving(Other) as port:
        assert port_of(port).status == "fail"


def test_a_service_that_is_there_already_says_what_it_serves() -> None:
    with serving(Healthy) as port:
        found = port_of(port)
    assert found.status == "warn"
    assert "inferctl service's" in found.finding
    assert "ok, models: shapes, words" in found.finding
    assert "share_port" in found.fix


def test_a_host_that_is_not_here_has_its_own_advice() -> None:
    found = port_of(0, "192.0.2.1")
    assert found.status == "fail"
    assert "--host" in found.fix


@pytest.mark.skipif(not os.path.isdir("/proc/net"), reason="Linux tells who listens")  # noqa: PTH112
def test_of_a_port_that_nobody_has_there_is_no_owner() -> None:
    with socket.create_server((HOST, 0)) as sock:
        port = sock.getsockname()[1]
        assert str(os.getpid()) in owner_of(port)
    assert owner_of(port) == ""
