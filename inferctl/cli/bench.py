"""`inferctl bench`: load a running server and report what it did."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.errors import BenchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferctl.bench.run import OnTick, Stage

_DOING = {
    "prepare": "Starting the load generator",
    "warm-up": "Warming up",
    "measure": "Measuring",
    "drain": "Waiting for the last answers",
}


def bench(
    url: Annotated[str, typer.Argument(help="The server.")] = "http://127.0.0.1:8000",
    model: Annotated[str | None, typer.Option(help="Name of the model. [the only one]")] = None,
    users: Annotated[
        int, typer.Option("--users", "-u", min=1, help="Requests under way at any time.")
    ] = 8,
    duration: Annotated[
        str, typer.Option("--duration", "-t", help="Time to measure: 10s, 1m30s.")
    ] = "10s",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of images, or file of texts, one per line. [made-up inputs]"),
    ] = None,
    warmup: Annotated[str, typer.Option(help="Load before that, not measured.")] = "2s",
    json: Annotated[Path | None, typer.Option(help="Write the report to this file too.")] = None,
) -> None:
    """Measure a running server: throughput, exact latencies, batches, CPU per request.

    The key of a server that wants one is the variable INFERCTL_API_KEY.
    """
    from rich.console import Console

    from inferctl.bench import Plan, parse_duration, render, write_json
    from inferctl.bench import bench as measure
    from inferctl.bench.report import check_writable
    from inferctl.variables import api_key

    duration_s = parse_duration(duration)
    if duration_s == 0:
        raise UsageError("nothing can be measured in 0 s", where="--duration")
    if json is not None:
        check_writable(json)
    plan = Plan(url, model, users, duration_s, parse_duration(warmup), data)
    with _progress() as on_tick:
        report = measure(plan, on_tick, api_key())
    if json is not None:
        write_json(report, json)
    Console(file=sys.stdout, highlight=False).print(render(report))
    if report.client.failed > report.client.answered:
        raise BenchError(
            f"{report.client.failed} of {report.client.failed + report.client.answered} "
            "requests failed",
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
