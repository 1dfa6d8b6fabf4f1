"""How each server is started: inferctl as it comes, the peers as they were measured best."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.answers import ask
from benchmarks.command import REPOSITORY
from benchmarks.install import PACKAGES, python_of
from benchmarks.peers.work import BUNDLE, THREADS
from benchmarks.tree import ProcessTree
from benchmarks.workloads import Assets, Workload
from inferctl.errors import BenchError, UsageError

HOST = "127.0.0.1"
OURS = "inferctl"
START_TIMEOUT_S = 60.0
POLL_S = 0.05

# {section: {key: TOML value}}; a client that waits for long is not an error here.
Toml = Mapping[str, Mapping[str, str | int | float]]
BENCHMARK_TOML: Toml = {"server": {"request_timeout_ms": 60_000}}


@dataclass(frozen=True, slots=True)
class Setup:
    """A server with one configuration: environment for a peer, settings for inferctl."""

    server: str
    config: str
    env: Mapping[str, str] = field(default_factory=dict)
    toml: Toml = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    tree: ProcessTree


def peer(server: str, config: str, **env: int | str) -> Setup:
    """A peer; keywords become PEER_… variables."""
    return Setup(server, config, {f"PEER_{key.upper()}": str(value) for key, value in env.items()})


# The best of a sweep over workers, threads, stages, batch limits and windows at 32 clients on two
# cores. Where two were close, or another is better at one client, both stay: a report takes the
# better one at each point.
SETUPS: dict[str, tuple[Setup, ...]] = {
    "vision": (
        Setup(OURS, "default"),
        peer("litserve", "2 workers, batch 8", workers=2, threads=1, max_rows=8, fast_queue=1),
        peer("mosec", "1+2 workers, batch 32", workers=2, threads=1, preprocessors=1),
        peer("mosec", "2 workers, batch 8, 1 ms", workers=2, threads=1, max_rows=8, window_ms=1),
        peer("tutorial", "2 threads", threads=2),
    ),
    "text": (
        Setup(OURS, "default"),
        peer("litserve", "2 workers, batch 8", workers=2, threads=1, max_rows=8),
        peer("mosec", "2 workers, batch 8", workers=2, threads=1, max_rows=8),
        peer("mosec", "2+1 workers, 2 threads, 1 ms", threads=2, preprocessors=2, window_ms=1),
        peer("tutorial", "2 threads", threads=2, inline="preprocess"),
    ),
    "mlp": (
        Setup(OURS, "default"),
        peer("litserve", "1 worker, batch 32", threads=1),
        peer("mosec", "1 worker, batch 32", threads=1),
        peer("mosec", "1 worker, batch 32, 1 ms", threads=1, window_ms=1),
        peer("tutorial", "in the loop", threads=1, inline="preprocess,infer"),
        peer("tutorial", "in a thread", threads=1, inline="preprocess"),
    ),
}


def setups_of(workload: Workload, servers: list[str]) -> list[Setup]:
    """The setups of some servers. Raises UsageError for one that is not known."""
    if unknown := set(servers) - {OURS, *PACKAGES}:
        raise UsageError(
            f"no such server: {', '.join(sorted(unknown))}",
            where="--servers",
            hint=f"known are {', '.join((OURS, *PACKAGES))}",
        )
    return [setup for setup in SETUPS[workload.base] if setup.server in servers]


def is_installed(setup: Setup, venvs: Path) -> bool:
    """Whether a peer's venv is there; inferctl is."""
    return setup.server == OURS or python_of(venvs, setup.server).exists()


@contextmanager
def started(setup: Setup, workload: Workload, assets: Assets, venvs: Path) -> Iterator[Running]:
    """Start a server, wait for its first answer, stop it. Raises BenchError when it does not."""
    port = free_port()
    path = {OURS: f"/models/{workload.name}/predict", "mosec": "/inference"}
    url = f"http://{HOST}:{port}{path.get(setup.server, '/predict')}"
    log_file = assets.folder / "logs" / f"{setup.server}-{workload.name}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, log_file.open("wb") as log:
        command, env = command_of(setup, workload, assets, venvs, Path(folder), port)
        # A session of its own: Ctrl-C in the terminal is for the benchmark, which then stops it.
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        tree = ProcessTree(process.pid)
        try:
            wait_for_answer(process, url, assets.bodies(workload.name)[0], log_file)
            yield Running(url, tree)
        finally:
            tree.stop()
            process.wait()


@contextmanager
def serving(models: Path, prefix: Sequence[str] = (), checkout: Path = REPOSITORY) -> Iterator[str]:
    """A checkout's inferctl as it comes, its command behind a prefix; the URL. Raises BenchError
    when it does not start."""
    command = [*prefix, sys.executable, "-m", "inferctl", "serve", str(models), "--port", "0"]
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(checkout)},
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r" ready .*url=(\S+)", line):
                    yield found[1]
                    break
            else:
                raise BenchError("the server did not start", hint="try `inferctl serve`")
        finally:
            ProcessTree(process.pid).stop()
            process.wait()
            process.stderr.close()


def command_of(
    setup: Setup, workload: Workload, assets: Assets, venvs: Path, folder: Path, port: int
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment; inferctl's TOML file is written to `folder`."""
    bundle = assets.bundle(workload.name).resolve()
    if setup.server == OURS:
        config = folder / "benchmark.toml"
        config.write_text(toml_text(bundle, port, setup.toml))
        return [sys.executable, "-m", "inferctl", "serve", "--config", str(config)], {**os.environ}
    module = "tutorial" if setup.server == "tutorial" else f"{setup.server}_server"
    arguments = [str(port)]
    if setup.server == "mosec":
        arguments = ["--address", HOST, "--port", str(port)]
    python = python_of(venvs, setup.server).absolute()
    own = {BUNDLE: str(bundle), THREADS: "1", "PYTHONPATH": str(REPOSITORY), **setup.env}
    return [str(python), "-m", f"benchmarks.peers.{module}", *arguments], {**os.environ, **own}


def toml_text(bundle: Path, port: int, own: Toml) -> str:
    """inferctl's settings for a benchmark; `own` wins key by key."""
    sections: dict[str, dict[str, str | int | float]] = {"server": {"host": HOST, "port": port}}
    for tree in (BENCHMARK_TOML, own):
        for section, values in tree.items():
            sections.setdefault(section, {}).update(values)
    lines = [f'models_dir = "{bundle}"']
    for section, values in sections.items():
        lines += ["", f"[{section}]"]
        lines += [
            f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
            for key, value in values.items()
        ]
    return "\n".join(lines) + "\n"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def wait_for_answer(
    process: subprocess.Popen[bytes], url: str, body: bytes, log_file: Path
) -> None:
    """Ask until the answer is 200. Raises BenchError when it ends before, or takes too long."""
    give_up_s = time.monotonic() + START_TIMEOUT_S
    said = "nothing"
    while process.poll() is None and time.monotonic() < give_up_s:
        try:
            status, answer = ask(url, body)
            if status == 200:
                return
            said = f"{status} {answer[:100]!r}"
        except (OSError, HTTPException):
            pass
        time.sleep(POLL_S)
    what = f"ended with code {process.returncode}"
    if process.returncode is None:
        what = f"did not answer in {START_TIMEOUT_S:.0f} s"
    raise BenchError(
        f"the server {what} at its start; its last answer: {said}",
        where=str(log_file),
        hint="read its log",
    )
