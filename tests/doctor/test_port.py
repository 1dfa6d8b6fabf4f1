"""The port: free, another program's, or a service's that says of what."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from inferctl.doctor.findings import Finding
from inferctl.doctor.port import owner_of, port_findings
from inferctl.settings import ServerSettings

HOST = "127.0.0.1"


def port_of(port: int, host: str = HOST, *, share: bool = False) -> Finding:
    (found,) = port_findings(ServerSettings(host=host, port=port, share_port=share))
    return found


class Healthy(BaseHTTPRequestHandler):
    """Answers as a service does, which tells no more to who calls it by another name."""

    answers: ClassVar = {
        "/livez": b'{"live": true}',
        "/health": b'{"status": "ok", "models": {"shapes": {}, "words": {}}}',
    }
    refusal = b'{"code": "misdirected", "status": 421}'

    def do_GET(self) -> None:
        host, port = self.server.server_address[:2]
        name = f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"
        is_open = self.path == "/livez" or self.headers["Host"] == name
        self.send_response(200 if is_open else 421)
        self.end_headers()
        self.wfile.write(self.answers[self.path] if is_open else self.refusal)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Keyed(Healthy):
    """Answers as a service that has keys."""

    answers: ClassVar = Healthy.answers | {"/health": b'{"code": "unauthorized", "status": 401}'}


class Other(Healthy):
    """Speaks HTTP, and is no service of ours."""

    answers: ClassVar = dict.fromkeys(Healthy.answers, b"<html>hello</html>")


class Alike(Healthy):
    """Tells of its health much as we do, and is no service of ours."""

    answers: ClassVar = Healthy.answers | {"/livez": b'{"status": "pass"}'}


class V6Server(HTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def serving(
    handler: type[Healthy], host: str = HOST, kind: type[HTTPServer] = HTTPServer
) -> Iterator[int]:
    with kind((host, 0), handler) as server:
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


@pytest.mark.parametrize("other", [Other, Alike])
def test_a_program_that_speaks_http_is_no_service_of_ours(other: type[Healthy]) -> None:
    with serving(other) as port:
        assert port_of(port).status == "fail"


def test_a_service_that_is_there_already_says_what_it_serves() -> None:
    with serving(Healthy) as port:
        found = port_of(port)
    assert found.status == "warn"
    assert "inferctl service's" in found.finding
    assert "ok, models: shapes, words" in found.finding
    assert "share_port" in found.fix


def test_a_service_that_has_keys_is_ours_all_the_same() -> None:
    with serving(Keyed) as port:
        found = port_of(port)
    assert found.status == "warn"
    assert found.finding.endswith("which answers: live")


def test_a_service_is_asked_by_its_own_name_in_brackets_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    with serving(Healthy, "::1", V6Server) as port:
        assert "ok, models: shapes, words" in port_of(port, "::1").finding


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


def test_the_owner_is_found_among_processes_that_end_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        "sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode\n"
        "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1\n"
    )
    for ended in ("1", "3"):
        (tmp_path / ended).mkdir()
    descriptors = tmp_path / "2" / "fd"
    descriptors.mkdir(parents=True)
    for closed in "0123":
        (descriptors / closed).write_text("no link any more")
    (descriptors / "7").symlink_to("socket:[4242]")
    for closed in "89":
        (descriptors / closed).write_text("no link any more")
    (tmp_path / "2" / "comm").write_text("nginx\n")
    (tmp_path / "self").symlink_to("2")
    assert owner_of(8080, tmp_path) == "nginx (process 2)"
