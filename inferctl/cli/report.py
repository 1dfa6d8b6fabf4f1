"""`inferctl report`: what a stored measurement says, again or beside another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def report(
    run: Annotated[Path, typer.Argument(help="JSON that `inferctl bench --json` wrote.")],
    json: Json = None,
    html: Html = None,
    markdown: Markdown = None,
    csv: Csv = None,
    csv_columns: CsvColumns = "locust",
    junit: Junit = None,
    fail_if: FailIf = None,
    baseline: Baseline = None,
    max_regression: MaxRegression = None,
) -> None:
    """Print a stored measurement, write it in another form, hold it to limits or to a baseline.

    Nothing is measured. Exits with 10 when a check fails.
    """
    from inferctl.bench.gate.judging import make_gate
    from inferctl.bench.report import Outputs, read_report

    outputs = Outputs(json, html, markdown, csv, csv_columns, junit)
    outputs.check()
    gate = make_gate(fail_if or [], baseline, max_regression)
    show(read_report(run), outputs, gate)
