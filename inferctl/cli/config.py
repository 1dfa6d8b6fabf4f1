"""`inferctl config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def config(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings", metavar="FILE")
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting: section.key=value", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Print every effective setting and where it came from."""
    from rich.console import Console
    from rich.table import Table

    from inferctl.sources import effective_values, load_settings, settings_tree

    loaded = load_settings(settings_tree(assign or []), config)
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for key, value in effective_values(loaded.settings):
        origin = loaded.origins.get(key, "default")
        table.add_row(key, value, origin, style="" if key in loaded.origins else "dim")
    Console().print(table)
