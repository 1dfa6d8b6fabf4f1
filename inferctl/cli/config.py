"""`inferctl config`: what the settings are, and every form in which they can be written down."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from inferctl.cli.serving import Assign, Config
from inferctl.errors import UsageError
from inferctl.files import write_new

config = typer.Typer(add_completion=False, rich_markup_mode=None)

STDOUT = Path("-")

Json = Annotated[bool, typer.Option("--json", help="Print a list of setting, value and source")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists")]
Target = Annotated[Path, typer.Argument(help="File to write; - is stdout", metavar="FILE")]


@config.callback(invoke_without_command=True)
def main(
    context: typer.Context, config: Config = None, assign: Assign = None, as_json: Json = False
) -> None:
    """Print every effective setting, as `show` does; or write down what may be set."""
    if context.invoked_subcommand is None:
        show(config, assign, as_json)
    elif config or assign or as_json:
        raise UsageError(
            "options come after the command's name",
            hint=f"e.g. inferctl config {context.invoked_subcommand} --help",
        )


@config.command()
def show(config: Config = None, assign: Assign = None, as_json: Json = False) -> None:
    """Print every effective setting and where it came from.

    Secrets are masked.
    """
    from inferctl.sources import effective_values, load_settings, settings_tree

    loaded = load_settings(settings_tree(assign or []), config)
    values = list(effective_values(loaded.settings))
    if as_json:
        rows = [
            {"setting": key, "value": value, "from": loaded.origins.get(key, "default")}
            for key, value in values
        ]
        sys.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for key, value in values:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        origin = loaded.origins.get(key, "default")
        # `Text` keeps square brackets in what a file says from being read as markup.
        cells = (Text(key), Text(shown), Text(origin))
        table.add_row(*cells, style="" if key in loaded.origins else "dim")
    Console().print(table)


@config.command()
def init(file: Target = Path("serve.toml"), force: Force = False) -> None:
    """Write a TOML file with every setting, commented out.

    Each has its meaning, its default, and what else it may be.
    """
    from inferctl.reference import toml_text

    _write(toml_text(), file, force)


@config.command()
def schema(file: Target = STDOUT, force: Force = False) -> None:
    """Write a JSON Schema of the TOML file, for editors.

    They complete and check it with a line in the file: #:schema inferctl.schema.json
    """
    from inferctl.reference import json_schema

    _write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", file, force)


@config.command()
def env(file: Target = STDOUT, force: Force = False) -> None:
    """Write a .env with every setting, commented out.

    Each has its meaning and its default.
    """
    from inferctl.reference import env_text

    _write(env_text(), file, force)


def _write(text: str, file: Path, force: bool) -> None:
    """Write a whole file or none of it. Raises OutputError."""
    if file == STDOUT:
        sys.stdout.write(text)
        return
    write_new(file, text, force=force)
    sys.stderr.write(f"wrote {file}\n")
