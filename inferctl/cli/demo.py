"""`inferctl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up until Ctrl-C")] = False,
    models: Annotated[Path, typer.Option(help="Where the bundles go")] = Path("models"),
    reports: Annotated[Path, typer.Option(help="Where the reports go")] = Path("reports"),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one")] = 0,
) -> None:
    """Export two small trained checkpoints, serve them, ask them, measure them."""
    from inferctl.demo.tour import Tour

    Tour(models, reports, port).run(keep=keep)
