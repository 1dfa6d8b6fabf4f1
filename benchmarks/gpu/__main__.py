"""What a GPU gives, and how much of it a service passes on: `python -m benchmarks.gpu`.

First onnxruntime by itself, by batch size: `session.run`, with all bound to device memory, and as a
CUDA graph of that, the ceiling. Then `inferctl serve` on the same model under load by wrk, by
kinds of request and numbers of clients, after its answers were compared with the CPU's, and while
another process fills the device. Last sessions that may take too little memory for the largest
batches. Needs CUDA, wrk, and the extras export and
cuda; takes minutes, and at most nine.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy
import onnxruntime
import pynvml
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import FOLDER, run
from benchmarks.gpu.ceiling import Point, ceilings
from benchmarks.gpu.memory import LITTLE_BYTES, crowded, in_little, taken
from benchmarks.gpu.models import Bundle, make
from benchmarks.gpu.service import Outcome, Served, check_answers, load_with, served, ways
from inferctl.cores import available_cores
from inferctl.engine.cuda import open_cuda
from inferctl.errors import BenchError, StartError

ROWS = {"vision": (1, 8, 32, 64, 128), "text": (1, 16, 64, 128)}
TOKENS = {"vision": 1, "text": 64}
CLIENTS = {"vision": (1, 16, 512), "text": (1, 16, 512)}
CEILING_S = 0.3


def main(
    seconds: Annotated[int, typer.Option(min=1, help="Of load for each point")] = 4,
    limit: Annotated[float, typer.Option(help="Seconds after which nothing new is begun")] = 420,
    out: Annotated[Path, typer.Option(help="Where the models are kept")] = FOLDER / "gpu",
    precision: Annotated[
        list[str] | None, typer.Option(help="Only these: fp32, fp16 [default: both]")
    ] = None,
    devices: Annotated[
        int, typer.Option(min=1, help="How many GPUs the service has, and times as many clients")
    ] = 1,
) -> None:
    """Measure the ceilings and the service; the table comes last. The ceiling of several GPUs is so
    many times that of the first."""
    console, give_up_s = Console(width=150), time.monotonic() + limit
    cuda = open_cuda(0)
    if cuda is None:
        raise StartError("no CUDA device, or no cuda-bindings", hint="pip install 'inferctl[cuda]'")
    console.print(machine())
    sheet = Table("model", "way", "clients", "rows/s", "of ceiling", "p50 ms", "p99 ms",
                  "rows a batch", "GPU", "cores: engine, workers, load")  # fmt: skip
    chosen = [one for one in make(out) if one.precision in (precision or ("fp16", "fp32"))]
    for bundle in sorted(chosen, key=lambda one: (one.base != "vision", one.precision)):
        if time.monotonic() > give_up_s:
            console.print(f"{bundle.name} {bundle.precision}: not measured, the time is over")
            continue
        points = list(
            ceilings(bundle.folder, cuda, ROWS[bundle.base], TOKENS[bundle.base], CEILING_S)
        )
        console.print(ceiling_table(bundle, points))
        best = devices * max(point.ceiling for point in points)
        for outcome in measured(bundle, seconds, give_up_s, console, devices):
            row = (f"{bundle.name} {bundle.precision}", *cells(outcome, best))
            console.print(" | ".join(row))  # what was measured is not lost with what comes after
            sheet.add_row(*row)
    console.print(sheet)


def machine() -> str:
    """What was measured on."""
    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    return (
        f"{pynvml.nvmlDeviceGetName(device)}, driver {pynvml.nvmlSystemGetDriverVersion()}, "
        f"{available_cores()} cores, Python {platform.python_version()}, onnxruntime "
        f"{onnxruntime.__version__} (CUDA {onnxruntime.cuda_version}), numpy {numpy.__version__}"
    )


def measured(
    bundle: Bundle, seconds: int, give_up_s: float, console: Console, devices: int = 1
) -> Iterator[Outcome]:
    """A service under each load; failures are told and the rest goes on."""
    try:
        begun_s = time.monotonic()
        with served(bundle, devices) as one:
            ready_s = time.monotonic() - begun_s
            console.print(
                f"{bundle.name} {bundle.precision}: answers after {ready_s:.1f} s; scores at most "
                f"{check_answers(one):.4f} from the CPU's"
            )
            console.print(taken(one))
            yield from _loads(one, seconds, give_up_s)
            if devices == 1:
                console.print(crowded(one, seconds), markup=False)
        with served(bundle, devices, cuda_graphs=0) as one:
            way = ways(bundle)[0]
            for clients in CLIENTS[bundle.base]:
                outcome = load_with(one, way, clients, seconds)
                yield replace(outcome, way=f"{way.name}, no graphs")
        for limit_bytes in LITTLE_BYTES[bundle.base]:
            if time.monotonic() > give_up_s:
                break
            console.print(in_little(bundle, devices, limit_bytes, seconds), markup=False)
    except BenchError as error:
        console.print(f"{bundle.name} {bundle.precision}: {error}", markup=False)


def _loads(one: Served, seconds: int, give_up_s: float) -> Iterator[Outcome]:
    for number, way in enumerate(ways(one.bundle)):
        # What few clients see is alike in all ways but the first.
        for clients in CLIENTS[one.bundle.base][0 if number == 0 else 2 :]:
            if time.monotonic() < give_up_s:
                yield load_with(one, way, max(clients // way.rows, 1), seconds)


def ceiling_table(bundle: Bundle, points: Sequence[Point]) -> Table:
    """A row for each size."""
    table = Table("rows", "tokens", "run ms", "bound ms", "graph ms", "rows/s at best",
                  title=f"{bundle.name} {bundle.precision}, onnxruntime by itself")  # fmt: skip
    for point in points:
        times = (point.run_ms, point.bound_ms, point.graph_ms)
        table.add_row(
            str(point.rows), str(point.tokens), *(f"{ms:.3f}" for ms in times),
            f"{point.ceiling:,.0f}",
        )  # fmt: skip
    return table


def cells(outcome: Outcome, ceiling: float) -> tuple[str, ...]:
    """A point as a row of the last table."""
    workers = sum(cores for role, cores in outcome.cores.items() if role != "engine")
    return (
        outcome.way,
        str(outcome.clients),
        f"{outcome.rows_per_s:,.0f}",
        f"{outcome.rows_per_s / ceiling:.2f}",
        f"{outcome.load.p50_ms:.1f}",
        f"{outcome.load.p99_ms:.1f}",
        f"{outcome.batch_rows:.1f}",
        f"{outcome.gpu:.0%}",
        f"{outcome.cores.get('engine', 0):.1f}, {workers:.1f}, {outcome.load_cores:.1f}",
    )


if __name__ == "__main__":
    run(main)
