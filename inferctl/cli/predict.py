"""`inferctl predict`: files and texts in, predictions out, by a server or a bundle."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.cli.asking import Inputs, Model, Output, Threshold, TopK
from inferctl.cli.ending import end_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferctl.predict.run import OnDone


def predict(
    target: Annotated[
        str,
        typer.Argument(
            help="The URL of a server; or a bundle, models/NAME, which is run in this process."
        ),
    ],
    inputs: Inputs,
    output: Output = None,
    draw: Annotated[
        Path | None, typer.Option(help="Folder for the images with their boxes drawn in, as PNG.")
    ] = None,
    model: Model = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the model; no other will do. [newest]")
    ] = None,
    top_k: TopK = None,
    threshold: Threshold = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Requests under way. [8]")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Deadline of a request in seconds. [30]")
    ] = None,
) -> None:
    """Predict files, folders or lines: a JSON line for each, in order, with errors in place.

    The key of a server that wants one is the variable INFERCTL_API_KEY.

    Exit code 8 says that an item failed or that the run ended early, 0 that all were answered.
    """
    from rich.console import Console

    from inferctl.client import Options
    from inferctl.predict import Plan, predict_all
    from inferctl.variables import api_key

    options = Options(
        model=model, version=version, top_k=top_k, confidence_threshold=threshold, timeout_s=timeout
    )
    end_as_by_ctrl_c()
    begun_s = time.monotonic()
    with _progress() as on_done:
        summary = predict_all(
            Plan(target, tuple(inputs), options, concurrency, output, draw, api_key()), on_done
        )
    Console(file=sys.stderr, highlight=False).print(summary.table(time.monotonic() - begun_s))
    summary.check(output)


@contextmanager
def _progress() -> Iterator[OnDone]:
    """Show on stderr how many are done, and how long the rest will take."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=sys.stderr)
    columns = (TextColumn("Predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("", total=None)
        yield lambda done, total: shown.update(row, completed=done, total=total)
