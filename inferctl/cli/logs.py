"""`inferctl logs`."""

from __future__ import annotations

import os
import sys
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from inferctl.cli.serving import Config
from inferctl.errors import UsageError

if TYPE_CHECKING:
    from inferctl.requestlog.selection import Selection

STANDARD_STREAM = "-"
# As many as `tail` shows.
USUAL_LINES = 10


def logs(
    file: Annotated[
        str | None,
        typer.Argument(help="The request log; - reads standard input. [logs.path of the settings]"),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, help="Wanted lines to begin with. [10, or all]"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more, also in a rotated file.")
    ] = True,
    slow: Annotated[
        list[str] | None,
        typer.Option(
            help="Requests that took so long, or a phase of theirs: 100ms, queue=1.5s",
            metavar="[PHASE=]TIME",
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="5xx, 429 or 200-299; may be given again", metavar="STATUS"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Requests for this model")] = None,
    request_id: Annotated[str | None, typer.Option(help="The request of this id")] = None,
    trace_id: Annotated[str | None, typer.Option(help="Requests of this trace")] = None,
    key: Annotated[str | None, typer.Option(help="Requests with the API key of this name")] = None,
    code: Annotated[
        str | None, typer.Option(help="Requests with this outcome: ok, overloaded, row_failed ...")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Count them by a member of their lines: key_id, outcome, shape ...; does not wait",
            metavar="MEMBER",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the lines as they are")] = False,
    config: Config = None,
) -> None:
    """Show the request log of a service: the last lines, and then what comes, until Ctrl-C."""
    from rich.console import Console

    from inferctl.requestlog.counts import Counts
    from inferctl.requestlog.display import Display, painter
    from inferctl.requestlog.readable import plain
    from inferctl.requestlog.show import Plan, show_file, show_stream

    members = {
        "model": model, "request_id": request_id, "trace_id": trace_id, "key_id": key,
        "outcome": code,
    }  # fmt: skip
    selection = _selection(members, status or [], slow or [])
    counts = Counts(by or [])
    path = file or _path_of(config)
    follows = follow and path != STANDARD_STREAM and not by
    last = USUAL_LINES if lines is None and follows else lines
    paint = plain if json else painter(Console())
    display = counts if by else Display(sys.stdout.buffer, paint, as_json=json)
    plan = Plan(selection, last, follows)
    try:
        if path == STANDARD_STREAM:
            show_stream(cast(BufferedReader, sys.stdin.buffer), plan, display)
        else:
            show_file(Path(path), plan, display)
    except KeyboardInterrupt:
        pass  # that is how it ends
    except BrokenPipeError:
        # What the interpreter would still write at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if by:
        Console().print(counts.table())
    if selection.unreadable:
        sys.stderr.write(f"inferctl: {selection.unreadable} lines are no JSON\n")


def _selection(members: dict[str, str | None], statuses: list[str], slow: list[str]) -> Selection:
    from inferctl.requestlog.selection import Selection, parse_slow, parse_statuses

    return Selection(
        {name: value for name, value in members.items() if value is not None},
        [each for text in statuses for each in parse_statuses(text)],
        map(parse_slow, slow),
    )


def _path_of(config: Path | None) -> str:
    """Where the service logs, by its settings. Raises UsageError or SettingsError."""
    from inferctl.sources import load_settings

    path = load_settings(config=config).settings.logs.path
    if path == STANDARD_STREAM:
        raise UsageError(
            "the service logs to its standard output", where="logs.path",
            hint="name a FILE, or pipe its output to `inferctl logs -`",
        )  # fmt: skip
    return path
