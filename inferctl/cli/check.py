"""`inferctl check`: a bundle is opened again and run on what a server may be sent."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inferctl.check import CheckReport

_DOING = {
    "open": "Opening the bundle",
    "run": "Running it on samples",
    "data": "Running it on real data",
    "cpu": "Comparing it with itself on the CPU",
    "against": "Comparing and timing it with the other",
}


def check(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle: models/NAME/VERSION.")],
    check_data: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures, or of .txt files with a text on each line."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Bundle to compare answers and speed with, such as the one in fp32."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of rows that may answer otherwise. [what the export allowed]"
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="What runs it: cpu, cuda, cuda:N or auto; answers are held to the CPU's."
        ),
    ] = "cpu",
    json: Annotated[Path | None, typer.Option(help="Write the report to this file too.")] = None,
) -> None:
    """Check a bundle again, without PyTorch: hashes, axes, answers, edges, another bundle."""
    from rich.console import Console

    from inferctl.check import CheckRequest, check_bundle
    from inferctl.device import is_device, may_be_several

    if not is_device(device) or may_be_several(device):
        raise UsageError(
            f"no such device, or several: {device}",
            where="--device",
            hint="it is cpu, cuda, cuda:N or auto",
        )
    with _progress() as on_stage:
        report = check_bundle(CheckRequest(bundle, check_data, against, max_drop, device), on_stage)
    if json is not None:
        _write_json(report, json)
    console = Console(file=sys.stdout, highlight=False)
    console.print(report.table())
    for speed in report.speeds:
        console.print(speed.sentence(), markup=False)
    for line in report.failed[:1]:
        worst = line.worst
        assert worst is not None  # a line has failed by its findings
        raise VerificationError(
            f"{line.name}: {worst.problem}", where=f"{bundle}, sample {worst.sample}"
        )


def _write_json(report: CheckReport, path: Path) -> None:
    from json import dumps

    from inferctl.files import write_whole

    write_whole(path, (dumps(report.document(), indent=2) + "\n").encode())


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on stderr what is being done and for how long."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("", total=None)
        yield lambda stage: shown.update(row, description=_DOING[stage])
