"""`inferctl bench` beside wrk: `python -m benchmarks.generator [--rounds N]`.

Both load the same server, on one core, from the other, in turn: the tiny model's service, which is
their limit, and the least that a server may be, of which they are the limit themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command import FOLDER, run
from benchmarks.load import run_wrk
from benchmarks.servers import HOST, SETUPS, free_port, started, wait_for_answer
from benchmarks.workloads import Assets, workload
from inferctl.bench.measurement import Load
from inferctl.bench.plan import Plan
from inferctl.bench.run import LocustBench, opened
from inferctl.errors import UsageError

NAME, LEAST = "mlp", "least"
CLIENTS = (1, 8, 32, 128)
WARM_UP_S = 1
SERVER_CORE, CLIENT_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What a generator reports, and why it says that it was the limit."""

    per_s: float
    p50_ms: float
    p99_ms: float
    core: float | None = None
    limited: bool = False


def main(
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="Per generator and point")] = 3,
    clients: Annotated[list[int] | None, typer.Option(min=1, help="[default: 1 8 32 128]")] = None,
    servers: Annotated[list[str] | None, typer.Option(help="[default: mlp least]")] = None,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
) -> None:
    """Measure both in turn, so often; print medians."""
    if len(os.sched_getaffinity(0)) < 2:
        raise UsageError("server and generator need a core each")
    made = Assets(assets)
    for server in servers or (NAME, LEAST):
        seen: dict[tuple[int, str], list[Seen]] = {}
        with pinned(server, made) as url, opened(_plan(url, server)) as bench:
            for number in track(range(rounds), server):
                for count in clients or CLIENTS:
                    for kind in ("wrk", "bench") if number % 2 else ("bench", "wrk"):
                        found = measure(kind, bench, count, seconds)
                        seen.setdefault((count, kind), []).append(found)
        Console().print(table(server, seen))


@contextmanager
def pinned(server: str, made: Assets) -> Iterator[str]:
    """A server on its core, and this process, whose children the generators are, on the other."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        with least() if server == LEAST else _service(made) as url:
            os.sched_setaffinity(0, {CLIENT_CORE})
            yield url
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def least() -> Iterator[str]:
    """The least of servers."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peers.least", str(port)]
    with TemporaryDirectory() as folder, subprocess.Popen(command) as process:
        try:
            wait_for_answer(process, f"http://{HOST}:{port}/", b"{}", Path(folder))
            yield f"http://{HOST}:{port}"
        finally:
            process.kill()


@contextmanager
def _service(made: Assets) -> Iterator[str]:
    with started(SETUPS[NAME][0], workload(NAME), made, FOLDER) as server:
        yield server.url.removesuffix(f"/models/{NAME}/predict")


def _plan(url: str, model: str) -> Plan:
    return Plan(url, model, Load(users=1), 1, 1.0, WARM_UP_S, processes=1)


def measure(kind: str, bench: LocustBench, clients: int, seconds: int) -> Seen:
    """One point of one generator, after a warm-up."""
    if kind == "bench":
        found = bench.measure(Load(users=clients), windows=1, window_s=seconds, warmup_s=WARM_UP_S)
        figures, window = found.client, found.windows[0]
        assert figures.latency is not None
        return Seen(
            figures.throughput_per_s, figures.latency.p50_ms, figures.latency.p99_ms,
            window.generator_cpu_cores, found.client_limited is not None,
        )  # fmt: skip
    bodies = bench.folder / "bodies.jsonl"
    bodies.write_bytes(orjson.dumps(bench.target.model.example) + b"\n")
    url = bench.target.url + bench.target.path
    run_wrk(url, bodies, clients, WARM_UP_S)
    load = run_wrk(url, bodies, clients, seconds)
    return Seen(load.requests_per_s, load.p50_ms, load.p99_ms)


def table(server: str, seen: dict[tuple[int, str], list[Seen]]) -> Table:
    """Medians of both, and of how much bench differs in a round."""
    sheet = Table(
        "server", "clients", "wrk/s", "bench/s", "", "wrk p50, p99 ms", "bench p50, p99 ms",
        "bench of a core", "says the client is the limit",
    )  # fmt: skip
    for clients in dict.fromkeys(number for number, _ in seen):
        wrk, bench = (seen[clients, kind] for kind in ("wrk", "bench"))
        per_s = [median(one.per_s for one in found) for found in (wrk, bench)]
        pairs = zip(wrk, bench, strict=True)
        differs = median(ours.per_s / theirs.per_s - 1 for theirs, ours in pairs)
        sheet.add_row(
            server,
            str(clients),
            f"{per_s[0]:,.0f}", f"{per_s[1]:,.0f}",
            f"{differs:+.1%}", _percentiles(wrk), _percentiles(bench),
            f"{median(one.core or 0 for one in bench):.0%}",
            f"{sum(one.limited for one in bench)} of {len(bench)}",
        )  # fmt: skip
    return sheet


def _percentiles(found: list[Seen]) -> str:
    return f"{median(one.p50_ms for one in found):.3f}, {median(one.p99_ms for one in found):.3f}"


if __name__ == "__main__":
    run(main)
