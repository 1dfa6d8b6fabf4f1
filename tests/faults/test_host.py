"""The host gives out: nobody reads the logs, the disk is full, limits are low."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

SENTENCE = json.dumps({"text": "what a wonderful film"})


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads and that has no room left."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n")
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


class Client:
    """One connection to a service of which only the port is known."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> tuple[int, str]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def predict(self) -> int:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/models/sentiment/predict", SENTENCE, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def wait_until_ready(self) -> None:
        give_up_s = time.monotonic() + 60
        while time.monotonic() < give_up_s:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz")[0] == 200:
                    return
            self._connection.close()
        raise AssertionError("the service does not become ready")

    def metric(self, series: str) -> float:
        _, text = self.get("/metrics")
        line = next(line for line in text.splitlines() if line.startswith(series))
        return float(line.split()[-1])


@pytest.mark.row(125)
def test_nobody_reads_stdout_and_stderr(models: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [
        sys.executable, "-m", "inferctl", "serve", str(models), "--port", str(port),
        "--workers", "1", "--set", "logs.path=-",
    ]  # fmt: skip
    with full_pipe() as stdout, full_pipe() as stderr:
        service = subprocess.Popen(command, cwd=tmp_path, stdout=stdout, stderr=stderr)
        try:
            client = Client(port)
            client.wait_until_ready()
            for _ in range(300):
                assert client.predict() == 200
            # The supervisor says of each that it died, and that another is ready.
            for _ in range(2):
                before = client.metric('inferctl_restarts_total{role="engine"}')
                os.kill(child(service.pid, "inferctl-engine"), signal.SIGKILL)
                assert client.predict() == 200
                assert client.metric('inferctl_restarts_total{role="engine"}') == before + 1
        finally:
            service.terminate()
            assert service.wait(60) == 0


def child(pid: int, name: str) -> int:
    """A child process of a name."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for found in path.read_text().split():
            if Path(f"/proc/{found}/comm").read_text().strip() == name:
                return int(found)
    raise AssertionError(f"no {name}")
