"""The host gives out: nobody reads the logs, the disk is full, what is usual is not there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inferctl.demo.samples import POSITIVE
from inferctl.demo.scenes import scene_series
from tests.e2e.service import SERVE, Service
from tests.e2e.test_predict import SEED, jpeg

pytestmark = pytest.mark.e2e

SENTENCE = json.dumps({"text": POSITIVE})
SOMEBODY = "54321"


def isolated(mounts: str) -> Sequence[str]:
    """The command to serve with mounts of its own, which only root may have."""
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("only root mounts, and not in every container")
    return ["unshare", "-m", "sh", "-c", f'set -e; {mounts}; exec "$@"', "sh", *SERVE]


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


@contextlib.contextmanager
def client_of(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection to a service of which only the port is known, once it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    give_up_s = time.monotonic() + 60
    with contextlib.closing(connection):
        while time.monotonic() < give_up_s:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(connection, "GET", "/readyz")[0] == 200:
                    yield connection
                    return
            connection.close()
        raise AssertionError("the service does not become ready")


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> tuple[int, str]:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def engine_of(pid: int) -> int:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "inferctl-engine":
                return int(child)
    raise AssertionError("no engine")


@pytest.mark.row(125)
def test_nobody_reads_stdout_and_stderr(models: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*SERVE, str(models), "--port", str(port), "--workers", "1", "--set", "logs.path=-"]
    with full_pipe() as stdout, full_pipe() as stderr:
        service = subprocess.Popen(command, cwd=tmp_path, stdout=stdout, stderr=stderr)
        try:
            with client_of(port) as client:
                for _ in range(300):
                    assert ask(client, "POST", "/models/sentiment/predict", SENTENCE)[0] == 200
                # The supervisor says that it died, and that another is ready.
                os.kill(engine_of(service.pid), signal.SIGKILL)
                assert ask(client, "POST", "/models/sentiment/predict", SENTENCE)[0] == 200
                assert (
                    'inferctl_restarts_total{role="engine"} 1' in ask(client, "GET", "/metrics")[1]
                )
        finally:
            service.terminate()
            try:
                assert service.wait(60) == 0
            finally:
                service.kill()


@pytest.mark.row(124)
def test_the_disk_of_the_log_is_full_for_a_while(models: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    service = Service(
        [str(models), "--port", "0", "--workers", "1", "--set", f"logs.path={disk}/requests.log"],
        tmp_path,
        command=isolated(f"mount -t tmpfs -o size=1m none '{disk}'"),
    )
    try:
        service.wait_until_ready()
        # The service's own view of the folder: here it is empty.
        mounted = Path(f"/proc/{service.process.pid}/root{disk}")
        with contextlib.suppress(OSError), (mounted / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
        predict(service, 100)
        service.wait_for_metric("inferctl_log_dropped_total", 1)
        (mounted / "other").unlink()
        dropped = service.metric("inferctl_log_dropped_total")
        predict(service, 1)
        lines = wait_for_notice(mounted / "requests.log")
    finally:
        assert service.stop() == 0

    (notice,) = [line for line in lines if "dropped_lines" in line]
    assert json.loads(notice)["dropped_lines"] == dropped
    assert json.loads(lines[-1])["outcome"] == "ok"


def predict(service: Service, times: int) -> None:
    for _ in range(times):
        assert service.post_json("/models/sentiment/predict", {"text": POSITIVE}).status == 200


def wait_for_notice(log: Path) -> list[str]:
    """The whole log, once it goes on after what it says is missing."""
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        lines = log.read_text().splitlines()
        if any("dropped_lines" in line for line in lines[:-1]):
            return lines
    raise AssertionError("the log does not say that lines are missing")


@pytest.mark.row(120)
def test_without_a_home_without_shared_memory_files_and_with_models_on_a_read_only_disk(
    models: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    service = Service(
        [str(models), "--port", "0", "--workers", "1"],
        tmp_path,
        environment=environment,
        command=isolated(
            f"mount --bind '{models}' '{models}'; mount -o remount,bind,ro '{models}'; "
            "mount -t tmpfs -o ro,size=4k none /dev/shm"
        ),
    )
    try:
        service.wait_until_ready()
        predict(service, 1)
    finally:
        assert service.stop() == 0


@pytest.mark.row(120)
@pytest.mark.parametrize(
    ("jobs", "said"),
    [("off", "cannot write the request log: "), ("sqlite", "cannot keep jobs there: ")],
)
def test_a_folder_on_a_read_only_disk_is_named(
    models: Path, tmp_path: Path, jobs: str, said: str
) -> None:
    command = isolated(f"mount -t tmpfs -o ro none '{tmp_path}'; cd '{tmp_path}'")
    arguments = ["--port", "0", "--workers", "1", "--set", f"jobs.backend={jobs}"]
    done = subprocess.run(
        [*command, str(models), *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("inferctl: ")]
    assert f"{said}Read-only file system" in line
    assert ".path" in line


@pytest.mark.row(121)
@pytest.mark.parametrize(
    ("limit", "name", "needed"),
    [("-n 64", "RLIMIT_NOFILE", "128"), ("-v 400000", "RLIMIT_AS", "512 MiB")],
)
def test_a_limit_that_is_too_low_is_named_before_anything_starts(
    models: Path, tmp_path: Path, limit: str, name: str, needed: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *SERVE, str(models), "--port", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert name in line
    assert needed in line


def as_somebody(*command: str) -> Sequence[str]:
    """A command of a user for whom threads are counted, and who may read what we may."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root may be somebody else")
    capabilities = "+dac_override,+dac_read_search"
    return [
        "setpriv", "--reuid", SOMEBODY, "--clear-groups", "--inh-caps", capabilities,
        "--ambient-caps", capabilities, *command,
    ]  # fmt: skip


@pytest.mark.row(121)
def test_too_few_processes_and_threads_are_counted(models: Path, tmp_path: Path) -> None:
    command = ["prlimit", "--nproc=9", *as_somebody(*SERVE)]
    done = subprocess.run(
        [*command, str(models), "--port", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("inferctl: only 8 more processes and threads can be started, and about")
    assert "RLIMIT_NPROC" in line


@pytest.mark.faults
@pytest.mark.row(129)
def test_a_running_service_needs_no_further_thread(models: Path, tmp_path: Path) -> None:
    service = Service([str(models), "--port", "0"], tmp_path, command=as_somebody(*SERVE))
    image_headers = {"Content-Type": "image/jpeg"}
    try:
        service.wait_until_ready()
        engine, workers = service.pids("inferctl-engine"), service.pids("inferctl-worker")
        for pid in (service.process.pid, *engine, *workers):
            limit = as_somebody("prlimit", "--pid", str(pid), "--nproc=1:1")
            subprocess.run(limit, check=True)
        for scene in scene_series(SEED, 20):
            answer = service.request("/models/shapes/predict", jpeg(scene), image_headers)
            assert answer.status == 200
        predict(service, 20)
        for path in ("/health", "/metrics", "/models", "/v2", "/openapi.json", "/"):
            assert service.request(path).status == 200
        assert service.pids("inferctl-engine") == engine
        assert service.pids("inferctl-worker") == workers
    finally:
        assert service.stop() == 0
