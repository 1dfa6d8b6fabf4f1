"""One run of wrk against a server, and what it cost the server: a point."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tree import PROC, TICKS_PER_S, ProcessTree
from inferctl.errors import BenchError, UsageError

SCRIPT = Path(__file__).with_name("rotate.lua")
MARK = "WRK "
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. `requests_per_s` counts answers of status 2xx, the latencies all."""

    requests_per_s: float
    answered: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    failed: int
    socket_errors: int
    timeouts: int
    statuses: dict[str, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What happened on the machine meanwhile; `others_cpu_s` is near 0 in a clean run."""

    cpu_ms_per_request: float
    pss_mb: float
    load_cpu_s: float
    others_cpu_s: float


@dataclass(frozen=True, slots=True)
class Point:
    """A server with a configuration at a number of clients, once."""

    workload: str
    server: str
    config: str
    clients: int
    round: int
    load: Load
    cost: Cost


@dataclass(frozen=True, slots=True)
class Framing:
    """Bodies that are no lines of JSON: their sizes, in order, and the header they all have."""

    header: tuple[str, str]
    sizes: Sequence[int]


def measure(
    url: str, bodies: Path, tree: ProcessTree, clients: int, seconds: int, *,
    statuses: bool = False, framing: Framing | None = None, threads: int = 1,
) -> tuple[Load, Cost]:  # fmt: skip
    """Load `url` for some seconds. Raises UsageError without wrk, BenchError when it fails."""
    server_s, machine_s, children_s = tree.cpu_s(), machine_cpu_s(), _children_cpu_s()
    load = run_wrk(
        url, bodies, clients, seconds, statuses=statuses, framing=framing, threads=threads
    )
    load_s = _children_cpu_s() - children_s
    machine_s = machine_cpu_s() - machine_s
    server_s = tree.cpu_s() - server_s
    good = max(load.answered - load.failed, 1)
    return load, Cost(
        cpu_ms_per_request=1e3 * server_s / good,
        pss_mb=tree.pss_mb(),
        load_cpu_s=load_s,
        others_cpu_s=machine_s - server_s - load_s,
    )


def run_wrk(
    url: str, bodies: Path, clients: int, seconds: int, *,
    statuses: bool = False, framing: Framing | None = None, threads: int = 1,
) -> Load:  # fmt: skip
    """Closed loop: each client asks again as soon as it is answered. Raises as `measure`."""
    if shutil.which("wrk") is None:
        raise UsageError("wrk is not installed", hint="apt-get install wrk")
    env = {**os.environ, "BODIES": str(bodies)}
    if statuses:
        env["STATUSES"] = "1"
    if framing:
        name, value = framing.header
        sizes = ",".join(map(str, framing.sizes))
        env |= {"BODY_BYTES": sizes, "HEADER_NAME": name, "HEADER_VALUE": value}
    command = [
        "wrk",
        "--threads",
        str(threads),
        "--connections",
        str(clients),
        "--duration",
        f"{seconds}s",
    ]
    done = subprocess.run(
        [*command, "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT), url],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()[:200]}", where=url)
    return parse_wrk(done.stdout)


def parse_wrk(output: str) -> Load:
    """Read the script's line. Raises BenchError when there is none."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise BenchError(f"wrk said nothing that counts: {output.strip()[:200]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    seconds = found["duration_us"] / 1e6
    good = found["answered"] - found["failed"]
    return Load(
        requests_per_s=good / seconds if seconds else 0.0,
        answered=found["answered"],
        **{f"{name}_ms": found[f"{name}_us"] / 1e3 for name in ("p50", "p90", "p99", "max")},
        **{name: found[name] for name in ("failed", "socket_errors", "timeouts", "statuses")},
    )


def allow_connections() -> None:
    """As many open files as the system lets this process have; wrk inherits them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine_cpu_s() -> float:
    """CPU seconds that all processes of the machine have used since it started."""
    user, nice, system, _idle, _wait, irq, soft_irq, *_ = map(
        int, (PROC / "stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + soft_irq) / TICKS_PER_S


def _children_cpu_s() -> float:
    """CPU seconds of children that ended: during a load, that is wrk alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
