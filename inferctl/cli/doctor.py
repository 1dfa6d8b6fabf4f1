"""`inferctl doctor`."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.cli.serving import Assign, Config, Models, flag_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferctl.doctor.models import OnBytes


def doctor(
    models: Models = None,
    config: Config = None,
    assign: Assign = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes of models' files, not their hashes")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a list of section, name, status, finding and fix"),
    ] = False,
) -> None:
    """Look whether this machine would serve these models, and say what to do if not.

    Each line is ok (✓), a warning (!) or a failure (✗). Exit code 0, or 1 when something fails.
    """
    from rich.console import Console

    from inferctl.doctor.findings import document, table
    from inferctl.doctor.run import Examination, examine
    from inferctl.errors import DoctorError

    asked = Examination(flag_tree(assign or [], {"models_dir": models}), config, quick)
    with _progress() as on_bytes:
        findings = list(examine(asked, on_bytes))
    if as_json:
        sys.stdout.write(json.dumps(document(findings), indent=2, ensure_ascii=False) + "\n")
    else:
        Console(highlight=False).print(table(findings))
    failed = [f"{one.section} {one.name}" for one in findings if one.status == "fail"]
    if failed:
        raise DoctorError(f"{len(failed)} of {len(findings)} fail: {', '.join(failed)}")


@contextmanager
def _progress() -> Iterator[OnBytes]:
    """Show on stderr how much of the models was hashed."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("Looking at models"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("", total=None)
        yield lambda done, whole: shown.update(row, completed=done, total=whole)
