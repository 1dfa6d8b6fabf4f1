"""`inferctl predict`: files and texts in, predictions out, by a server or a bundle."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.errors import PredictError

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
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images and folders of them; files with a text on each line; or -, to read texts, "
            "or names of images, from standard input."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the results. [standard output]"),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Folder for the images with their boxes drawn in, as PNG.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [the default or only one]")
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the model; no other will do. [newest]")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Labels of an image classifier's answer. [5]")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least confidence of a box. [0.5]")
    ] = None,
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
    # Like Ctrl-C: what is done is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun_s = time.monotonic()
    with _progress() as on_done:
        summary = predict_all(
            Plan(target, tuple(inputs), options, concurrency, output, draw, api_key()), on_done
        )
    Console(file=sys.stderr, highlight=False).print(summary.table(time.monotonic() - begun_s))
    if summary.failed:
        raise PredictError(
            f"{summary.failed} of {summary.items} items failed",
            where=str(output or "standard output"),
            hint='their lines have an "error"',
        )


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
