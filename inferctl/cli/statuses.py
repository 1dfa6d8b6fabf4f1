"""What became of jobs, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferctl.cli.models import age
from inferctl.client import JobStatus

COLUMNS = ("id", "state", "model", "progress", "failed", "age", "attempts")
# A terminal that is too narrow for all of them goes without these, in this order.
DISPENSABLE = ("attempts", "age", "model", "failed")
MOST_COLUMNS = 1000
STYLES = {"done": "green", "failed": "red", "running": "cyan"}


def as_json(statuses: Sequence[JobStatus]) -> str:
    """A list of them; times as RFC 3339 has them."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(statuses, option=options).decode()


def print_table(statuses: Sequence[JobStatus]) -> None:
    """A line for each, whole however narrow the terminal is: ids are there to be copied."""
    console = Console()
    for count in range(len(DISPENSABLE) + 1):
        shown = table(statuses, without=DISPENSABLE[:count])
        options = console.options.update(width=MOST_COLUMNS)
        needed = console.measure(shown, options=options).maximum
        if needed <= console.width or not console.is_terminal:
            break
    console.width = max(console.width, needed)
    console.print(shown)


def table(statuses: Sequence[JobStatus], without: Sequence[str] = ()) -> Table:
    """A row for each."""
    columns = [name for name in COLUMNS if name not in without]
    shown = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    now = datetime.now(UTC)
    for status in statuses:
        cells: dict[str, Text | str] = {
            "id": Text(status.id),
            "state": _state(status),
            "model": _model(status),
            "progress": f"{status.done_items}/{status.items}",
            "failed": str(status.failed_items or ""),
            "age": age(status.created_at.isoformat(), now),
            "attempts": str(status.attempts),
        }
        shown.add_row(*(cells[name] for name in columns))
    return shown


def details(status: JobStatus) -> Table:
    """Everything of one."""
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_row("id", Text(status.id))
    shown.add_row("state", _state(status))
    shown.add_row("model", _model(status))
    progress = f"{status.done_items}/{status.items} {int(status.progress * 100)}%"
    shown.add_row("progress", progress)
    shown.add_row("failed items", str(status.failed_items))
    shown.add_row("attempts", str(status.attempts))
    for name in ("created", "started", "ended", "expires"):
        moment = getattr(status, f"{name}_at")
        shown.add_row(name, "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S %Z}")
    if status.problem is not None:
        # `Text` keeps square brackets in what a server says from being read as markup.
        shown.add_row("problem", Text(str(status.error()), style="red"))
    return shown


def _state(status: JobStatus) -> Text:
    return Text(status.state, style=STYLES.get(status.state, ""))


def _model(status: JobStatus) -> Text:
    return Text(f"{status.model} {status.version}".strip())
