"""Options of commands that have the settings of a service, and the tree that these become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

# What cannot be read is told as any other mistake in the settings.
Models: TypeAlias = Annotated[
    Path | None,
    typer.Argument(help="A bundle, or a folder of models [default: models]", readable=False),
]
Config: TypeAlias = Annotated[
    Path | None, typer.Option(help="TOML file with settings", metavar="FILE", readable=False)
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda, cuda:N, cuda:N,M or cuda:all")
]
Assign: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: section.key=value", metavar="KEY=VALUE"),
]


def flag_tree(assignments: list[str], named: dict[str, Any]) -> dict[str, Any]:
    """The settings tree of the flags; a named flag wins over `--set`."""
    from inferctl.sources import settings_tree

    given = [f"{key}={value}" for key, value in named.items() if value is not None]
    return settings_tree([*assignments, *given])
