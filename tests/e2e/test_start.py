"""What can go wrong at start: one line, the right exit code, nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.graphs import image_fields, image_graph, write_bundle

pytestmark = pytest.mark.e2e


def inferctl(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inferctl", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_a_service_does_without_the_streams_it_was_not_given(
    models: Path, tmp_path: Path, closed: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inferctl", "serve", str(models), "--port", str(port)]
    service = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=tmp_path)
    try:
        wait_until_ready(port)
    finally:
        service.terminate()

    assert service.wait(60) == 0


def wait_until_ready(port: int) -> None:
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        with contextlib.suppress(OSError):  # nobody is there yet, or it is not ready
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30).close()
            return
    raise AssertionError("the service does not become ready")


def the_one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The error's line; a traceback would be many."""
    lines = [line for line in result.stderr.splitlines() if not line[:1].isdigit()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("inferctl: ")
    return lines[0]


@pytest.mark.row(104, 120)
def test_no_models_folder(tmp_path: Path) -> None:
    result = inferctl("serve", folder=tmp_path)

    assert result.returncode == 3
    assert "inferctl export" in the_one_line(result)


@pytest.mark.row(118)
def test_a_port_in_use_is_named_before_anything_loads(models: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        result = inferctl("serve", str(models), "--port", port, folder=tmp_path)

    assert result.returncode == 3
    assert port in the_one_line(result)
    assert result.stderr.count("\n") == 1, "it said that it was starting"


@pytest.mark.row(113)
@pytest.mark.parametrize("device", ["cuda", "cuda:0,1"])
def test_cuda_asked_for_and_not_there(models: Path, tmp_path: Path, device: str) -> None:
    result = inferctl("serve", str(models), "--port", "0", "--device", device, folder=tmp_path)

    assert result.returncode == 3
    assert result.stderr == (
        f"inferctl: libcuda.so.1, the CUDA driver, is not found (runtime.device = {device}); "
        "apt install nvidia-driver; in a container: docker run --gpus all; or use --device auto\n"
    ), "nothing was started"


@pytest.mark.row(122)
def test_auto_without_a_gpu_says_that_it_is_on_the_cpu_and_why(
    models: Path, tmp_path: Path
) -> None:
    """In the log, in /health and in the metrics; of models that ask for the CPU it is no fault."""
    settings = {"MODELS__SHAPES__RUNTIME__DEVICE": "cpu", "SERVER__WORKERS": "1"}
    log = tmp_path / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "inferctl", "serve", str(models), "--port", str(port)]
    with log.open("w") as stderr:
        service = subprocess.Popen(
            command, cwd=tmp_path, stderr=stderr,
            env=os.environ | {f"INFERCTL_{name}": value for name, value in settings.items()},
        )  # fmt: skip
    try:
        wait_until_ready(port)
        health = json.loads(read(port, "/health"))
        metrics = read(port, "/metrics")
    finally:
        service.terminate()
        service.wait(60)
    caution = "libcuda.so.1, the CUDA driver, is not found, so sentiment runs on the CPU: "
    assert [line for line in health["warnings"] if line.startswith(caution)]
    assert {model["device"] for model in health["models"].values()} == {"cpu"}
    assert log.read_text().count(caution) == 1
    for model, fell_back in (("sentiment", 1), ("shapes", 0)):
        assert f'inferctl_model_fell_back{{model="{model}",version="1"}} {fell_back}\n' in metrics


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return str(answer.read(), "utf-8")


@pytest.mark.row(104, 105)
@pytest.mark.parametrize("file", ["shapes/1/model.onnx", "sentiment/1/tokenizer.json"])
def test_a_changed_file_is_not_served(models: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "models"
    shutil.copytree(models, copy)
    damaged = bytearray((copy / file).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copy / file).write_bytes(damaged)

    result = inferctl("serve", str(copy), "--port", "0", folder=tmp_path)

    assert result.returncode == 3
    assert "SHA-256" in the_one_line(result)


@pytest.mark.row(115, 116)
def test_everything_that_is_wrong_with_the_settings_is_told_at_once_and_nothing_starts(
    models: Path, tmp_path: Path
) -> None:
    (tmp_path / "serve.toml").write_text("[batchng]\nmax_wait_ms = 5\n")
    (tmp_path / ".env").write_text("INFERCTL_SERVER__HOST=\n")

    result = inferctl(
        "serve", str(models), "--port", "http", "--device", "tpu", "--set", "server.prot=1",
        "--config", "serve.toml", folder=tmp_path,
    )  # fmt: skip

    assert result.returncode == 2
    assert sorted(result.stderr.splitlines()) == [
        "inferctl: batchng: unknown setting; did you mean batching? (from serve.toml)",
        "inferctl: runtime.device: should be 'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:N,M' or "
        "'cuda:all', not 'tpu' (from flag)",
        "inferctl: server.host: should have at least 1 character, not ''"
        " (from INFERCTL_SERVER__HOST in .env)",
        "inferctl: server.port: should be a valid integer, not 'http' (from flag)",
        "inferctl: server.prot: unknown setting; did you mean server.port? (from flag)",
    ]


@pytest.mark.row(116)
def test_a_misspelt_flag_names_those_like_it(tmp_path: Path) -> None:
    result = inferctl("serve", "--prot", "80", folder=tmp_path)

    assert result.returncode == 2
    assert "--port" in result.stderr


def test_a_model_in_the_settings_that_does_not_exist(models: Path, tmp_path: Path) -> None:
    result = inferctl(
        "serve", str(models), "--port", "0", "--set", "models.shape.default=true", folder=tmp_path
    )

    assert result.returncode == 2
    assert "shapes" in the_one_line(result)


@pytest.mark.row(104, 107)
def test_a_graph_that_is_as_it_was_made_and_cannot_be_run_is_not_served(tmp_path: Path) -> None:
    graph = image_graph()
    graph.graph.node[0].op_type = "Absent"
    write_bundle(tmp_path / "models" / "pixels" / "1", graph, image_fields())

    result = inferctl("serve", "--port", "0", folder=tmp_path)

    assert result.returncode == 3
    assert "onnxruntime cannot load the graph" in the_one_line(result)
    assert "model.onnx" in the_one_line(result)


@pytest.mark.row(120)
def test_an_unwritable_log_is_said_at_start(models: Path, tmp_path: Path) -> None:
    result = inferctl(
        "serve", str(models), "--port", "0", "--set", "logs.path=/dev/null/x", folder=tmp_path
    )

    assert result.returncode == 3
    assert "logs.path" in the_one_line(result)


def test_config_prints_values_and_their_origin(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INFERCTL_BATCHING__MAX_WAIT_MS=7\n")

    result = inferctl("config", "--set", "server.port=9001", folder=tmp_path)

    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["server.port", "9001", "flag"] in rows
    assert ["batching.max_wait_ms", "7.0", ".env"] in rows
    assert ["server.host", "127.0.0.1", "default"] in rows


@pytest.mark.row(117)
def test_settings_that_contradict_each_other_are_both_named(models: Path, tmp_path: Path) -> None:
    result = inferctl(
        "serve", str(models), "--port", "0", "--set", "limits.max_queue_rows=4",
        "--set", "batching.max_batch_rows=8", "--set", "batching.max_wait_ms=6000", folder=tmp_path,
    )  # fmt: skip

    queue, wait = result.stderr.splitlines()
    assert result.returncode == 2
    assert queue.startswith("inferctl: batching.max_batch_rows = 8 is more than limits.max_queue_")
    assert wait.startswith("inferctl: batching.max_wait_ms = 6000 is not below server.request_time")


def test_two_default_models_are_refused(models: Path, tmp_path: Path) -> None:
    result = inferctl(
        "serve", str(models), "--port", "0", "--set", "models.shapes.default=true",
        "--set", "models.sentiment.default=true", folder=tmp_path,
    )  # fmt: skip

    assert result.returncode == 2
    assert "sentiment and shapes" in the_one_line(result)
