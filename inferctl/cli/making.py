"""What the commands that make bundles share: how flags are read, and what is shown meanwhile."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inferctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from inferctl.export import ExportResult

_EXTRA = ("torch", "onnx", "onnxscript", "safetensors", "transformers")


def read_labels(text: str | None) -> tuple[str, ...]:
    """Read `--labels`: a file with one label per line, or the labels between commas."""
    if text is None:
        return ()
    path = Path(text)
    try:
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the labels: {error}", where=text) from None
    if path.suffix == ".txt":
        raise UsageError("no such file of labels", where=text)
    return tuple(label.strip() for label in text.split(","))


def read_size(text: str | None) -> tuple[int, int] | None:
    """Read `--image-size`, 224 or 480x640, as height and width in pixels."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})(?:[xX]([0-9]{1,6}))?", text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no size",
            where="--image-size",
            hint="write 224, or 480x640 (height first)",
        )
    return int(found[1]), int(found[2] or found[1])


def read_channels(text: str, flag: str) -> tuple[float, float, float]:
    """Read one number for all channels, or three between commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise UsageError(
            f"{text!r} is not one number or three",
            where=flag,
            hint="write 0.5 or 0.485,0.456,0.406",
        )
    red, green, blue = numbers
    return red, green, blue


@contextmanager
def export_extra() -> Iterator[None]:
    """Say which extra is missing, when it is one of its packages that cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise UsageError(
            f"exporting needs {error.name}", hint="install with pip install 'inferctl[export]'"
        ) from None


@contextmanager
def stages(doing: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
    """Show each stage on stderr with its time while it runs, called as `doing` says."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A bound stream: the exporter's own output is redirected while the spinner turns.
    console = Console(file=sys.stderr)
    mark = SpinnerColumn(finished_text="✓")
    columns = (
        mark,
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def on_stage(stage: str) -> None:
            for running in progress.task_ids:
                progress.update(running, completed=1)
            progress.add_task(doing[stage], total=1)

        try:
            yield on_stage
        except BaseException:
            # Only the stage that failed still shows the spinner's frame.
            mark.spinner.frames, mark.spinner.style = ["✗"], "red"
            if not console.is_terminal:
                for failed in progress.task_ids[-1:]:
                    progress.remove_task(failed)
            raise
        for finished in progress.task_ids:
            progress.update(finished, completed=1)


def print_summary(result: ExportResult) -> None:
    """Print the closing table, and a warning where there is one."""
    from rich.console import Console

    from inferctl.export.report import summary_table

    table = summary_table(
        result.path,
        result.manifest,
        result.loaded,
        result.checks,
        result.seconds,
        result.conversion,
    )
    Console(file=sys.stdout).print(table)
    if result.conversion and result.conversion.warning:
        sys.stderr.write(f"inferctl: warning: {result.conversion.warning}\n")
