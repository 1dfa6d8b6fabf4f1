"""`inferctl bench`: load a running server and report what it did."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.cli.judging import (
    Baseline,
    Csv,
    CsvColumns,
    FailIf,
    Html,
    Json,
    Junit,
    Markdown,
    MaxRegression,
    show,
)
from inferctl.cli.loads import (
    Arrivals,
    Ca,
    Connections,
    Data,
    DialectName,
    Duration,
    Loading,
    MaxWindows,
    Processes,
    Rate,
    Replay,
    Shape,
    Size,
    Users,
    Warmup,
    Window,
    Words,
)
from inferctl.cli.sweeping import SloText, Sweeping, SweepText, check_found
from inferctl.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferctl.bench.course import OnTick, Stage
    from inferctl.bench.report import Report
    from inferctl.bench.several import Several

# As a shell has it for what a Ctrl-C ended.
INTERRUPTED = 130
_DOING = {
    "prepare": "Starting the load generator",
    "warm-up": "Warming up",
    "measure": "Measuring",
    "drain": "Waiting for the last answers",
}


def bench(
    url: Annotated[str, typer.Argument(help="The server.")] = "http://127.0.0.1:8000",
    model: Annotated[str | None, typer.Option(help="Name of the model. [the only one]")] = None,
    users: Users = None,
    rate: Rate = None,
    arrivals: Arrivals = "poisson",
    shape: Shape = None,
    replay: Replay = None,
    duration: Duration = None,
    window: Window = "3s",
    max_windows: MaxWindows = 10,
    warmup: Warmup = "2s",
    processes: Processes = "auto",
    connections: Connections = 4096,
    data: Data = None,
    dialect: DialectName = "native",
    size: Size = None,
    words: Words = None,
    ca: Ca = None,
    sweep: SweepText = None,
    slo: SloText = None,
    json: Json = None,
    html: Html = None,
    markdown: Markdown = None,
    csv: Csv = None,
    csv_columns: CsvColumns = "locust",
    junit: Junit = None,
    fail_if: FailIf = None,
    baseline: Baseline = None,
    against: Annotated[
        str | None,
        typer.Option(help="Server to compare with, measured by turns with URL: the surest way."),
    ] = None,
    against_model: Annotated[str | None, typer.Option(help="Its model. [the same]")] = None,
    max_regression: MaxRegression = None,
) -> None:
    """Measure a running server: throughput, exact latencies, batches, CPU per request.

    The key of a server that wants one is the variable INFERCTL_API_KEY. A Ctrl-C ends with a report
    of the windows so far.
    """
    from inferctl.bench import bench as measure
    from inferctl.bench.against import bench_against
    from inferctl.bench.gate.judging import comparable, make_gate
    from inferctl.bench.plan import Source, parse_processes, parse_size
    from inferctl.bench.report import Outputs
    from inferctl.variables import api_key

    outputs = Outputs(json, html, markdown, csv, csv_columns, junit)
    outputs.check()
    gate = make_gate(fail_if or [], baseline, max_regression, against=against is not None)
    loads = (users, rate, shape, replay)
    sweeping = Sweeping(sweep, slo, arrivals, any(one is not None for one in loads))
    sweeping.check(
        is_timed=duration is not None, is_against=against is not None,
        has_baseline=baseline is not None,
    )  # fmt: skip
    loading = Loading(users, rate, arrivals, shape, replay, duration, window, max_windows, warmup)
    plan = replace(
        loading.plan(url, model),
        source=Source(data, dialect, None if size is None else parse_size(size), words),
        processes=parse_processes(processes),
        connections=connections,
        ca=ca,
    )
    plan = plan if baseline is None else comparable(plan)
    several: Several | None = None
    with _progress() as on_tick:
        if sweeping.is_asked:
            several, report = sweeping.measure(plan, on_tick)
        elif against is None:
            report = measure(plan, on_tick, api_key())
        else:
            old, report = bench_against(plan, against, against_model, on_tick, api_key())
            gate = gate.beside(old) if gate else None
    show(report, outputs, gate)
    if several:
        check_found(several)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    _check_answered(report)


def _check_answered(report: Report) -> None:
    """Raise BenchError when most requests failed."""
    answered = sum(load.client.answered for load in report.loads)
    failed = sum(load.client.failed for load in report.loads)
    if failed > answered:
        raise BenchError(
            f"{failed} of {failed + answered} requests failed",
            hint="the figures above are those of the rest",
        )


@contextmanager
def _progress() -> Iterator[OnTick]:
    """Show the stage and the seconds it still takes on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(file=sys.stderr)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("Asking the server", total=None, left="")

        def on_tick(stage: Stage, done_s: float, total_s: float) -> None:
            left = f"{total_s - done_s:.0f} s left" if total_s else ""
            shown.update(
                row,
                description=_DOING[stage],
                completed=done_s,
                total=total_s or None,
                left=left,
            )

        yield on_tick
