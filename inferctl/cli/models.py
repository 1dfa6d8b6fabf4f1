"""`inferctl models`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.errors import BundleError

if TYPE_CHECKING:
    from inferctl.bundles.manifest import Manifest
    from inferctl.bundles.repository import Bundle

# (seconds, unit): an age is given in the largest unit that it reaches.
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def models(
    folder: Annotated[Path, typer.Argument(help="A folder of models")] = Path("models"),
) -> None:
    """List the bundles of a folder: what they are, whether they are intact, which is served."""
    from datetime import UTC

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from inferctl.bundles.repository import list_bundles

    shelf = list_bundles(folder)
    latest = {shelved.path.parent: shelved.path for shelved in shelf}
    table = Table("model", "version", "task", "precision", "size", "files", "age", box=None)
    now = datetime.now(UTC)
    for shelved in shelf:
        name, version = shelved.path.parent.name, shelved.path.name
        marked = f"{version} (latest)" if latest[shelved.path.parent] == shelved.path else version
        if shelved.bundle is None:
            # `Text` keeps square brackets in what a file says from being read as markup.
            problem = Text(shelved.problem.what if shelved.problem else "", style="red")
            table.add_row(name, marked, "-", "-", "-", problem, "-")
            continue
        manifest = shelved.bundle.manifest
        facts = (
            manifest.task,
            manifest.precision,
            size(manifest),
            "intact",
            age(_created_at(shelved.bundle), now),
        )
        table.add_row(name, marked, *facts)
    Console().print(table)


def _created_at(bundle: Bundle) -> object:
    """When it was made, by its report; of a damaged report nothing is known."""
    from inferctl.bundles.repository import read_report

    try:
        return read_report(bundle.path).get("created_at", bundle.manifest.created_at)
    except BundleError:
        return None


def size(manifest: Manifest) -> str:
    """The bytes of all files of a bundle, for people."""
    count = sum(file.bytes for file in manifest.files.values())
    return f"{count / 1e3:.1f} kB" if count < 100_000 else f"{count / 1e6:.1f} MB"


def age(created_at: object, now: datetime) -> str:
    """How long ago a bundle was made, for people."""
    try:
        seconds = (now - datetime.fromisoformat(str(created_at))).total_seconds()
    except (ValueError, TypeError):  # nothing says it, or in its own words, or without a zone
        return "unknown"
    for unit_s, unit in UNITS:
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {unit}"
    return "now"
