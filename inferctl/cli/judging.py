"""Options that `bench` and `report` share: where a report is written, and what it is held to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from inferctl.bench.gate.judging import Gate
    from inferctl.bench.gate.ruling import Ruling
    from inferctl.bench.report import Outputs, Report

Json = Annotated[Path | None, typer.Option("--json", help="Write the report as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", help="As one HTML file with plots.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="As Markdown.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="As CSV.")]
CsvColumns = Annotated[
    Literal["locust", "perf-analyzer"], typer.Option("--csv-columns", help="Whose columns.")
]
Junit = Annotated[Path | None, typer.Option("--junit", help="The checks as JUnit XML.")]
FailIf = Annotated[
    list[str] | None,
    typer.Option("--fail-if", help="Exit 10 if so: 'p99>50ms', 'error_rate>0.1%'; repeatable."),
]
Baseline = Annotated[
    Path | None, typer.Option("--baseline", help="JSON of an earlier run to compare with.")
]
MaxRegression = Annotated[
    str | None,
    typer.Option(
        "--max-regression", help="Exit 10 if slower than what it is compared with by more. [5%]"
    ),
]


def show(report: Report, outputs: Outputs, gate: Gate | None) -> Ruling | None:
    """Judge, write and print a report. Raises GateError when the gate says no."""
    import sys

    from rich.console import Console

    from inferctl.bench.report import render
    from inferctl.errors import GateError

    ruling = gate.judge(report) if gate else None
    outputs.write(report, ruling)
    Console(file=sys.stdout, highlight=False).print(render(report, ruling))
    if ruling and not ruling.passed:
        first, count = ruling.failed[0], len(ruling.failed)
        raise GateError(
            f"{count} of {len(ruling.cases)} checks failed: {first.name}: {first.detail}"
        )
    return ruling
