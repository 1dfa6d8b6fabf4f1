"""What counting and logging cost a request: `python -m benchmarks.observed [--rounds N]`.

The tiny model's service as it is, and one whose request log and counters do nothing: the difference
of the CPU of all its processes. Nothing of the service has a switch for that; a `sitecustomize`,
which Python imports before anything else, takes their place.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command import FOLDER, run
from benchmarks.load import measure, run_wrk
from benchmarks.servers import SETUPS, started
from benchmarks.workloads import Assets, workload
from inferctl.errors import BenchError

NAME = "mlp"
WARM_UP_S = 1
BLIND = '''\
"""No request is logged, nothing is counted."""

from inferctl.arena.cells import Cell, Histogram
from inferctl.server.logs import RequestLog

RequestLog.record = lambda *_: None
Histogram.observe = lambda *_: None
Cell.add = lambda *_: None
'''
KINDS = ("as it is", "blind")


def main(
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="Per service and round")] = 4,
    clients: Annotated[int, typer.Option(min=1, max=10_000)] = 32,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
) -> None:
    """Measure both in turn, so often; print medians."""
    made = Assets(assets)
    costs_us: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(BLIND)
        for number in track(range(rounds), "rounds"):
            for kind in KINDS if number % 2 else reversed(KINDS):
                hidden = folder if kind == "blind" else ""
                costs_us[kind].append(cost_us(made, hidden, clients, seconds))
    Console().print(table(costs_us))


def cost_us(made: Assets, first_on_path: str, clients: int, seconds: int) -> float:
    """CPU of a service a request, in microseconds. Raises BenchError when requests fail."""
    usual = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (first_on_path, usual)))
    try:
        with started(SETUPS[NAME][0], workload(NAME), made, FOLDER) as server:
            bodies = made.bodies_file(NAME)
            run_wrk(server.url, bodies, clients, WARM_UP_S)
            load, cost = measure(server.url, bodies, server.tree, clients, seconds)
    finally:
        if usual is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = usual
    if load.failed or not load.answered:
        raise BenchError(f"{load.failed} of {load.answered} requests failed", where=server.url)
    return cost.cpu_ms_per_request * 1000


def table(costs_us: dict[str, list[float]]) -> Table:
    """Medians with their range, and what lies between them."""
    sheet = Table("service", "CPU µs/request", "least to most")
    for kind, found in costs_us.items():
        sheet.add_row(kind, f"{median(found):.1f}", f"{min(found):.1f} to {max(found):.1f}")
    whole, blind = (costs_us[kind] for kind in KINDS)
    pairs = [one - other for one, other in zip(whole, blind, strict=True)]
    sheet.add_row("difference", f"{median(pairs):.1f}", f"{min(pairs):.1f} to {max(pairs):.1f}")
    return sheet


if __name__ == "__main__":
    run(main)
