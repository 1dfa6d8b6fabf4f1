"""`inferctl key`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer


class Scope(StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    ADMIN = "admin"


def key(
    name: Annotated[str, typer.Argument(help="Name of whoever will use it; it stands in the log.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; may be given twice. [predict]")
    ] = None,
) -> None:
    """Make an API key: the key itself to stderr, once, and its settings to stdout.

    inferctl key ci >> serve.toml
    """
    from pydantic import TypeAdapter, ValidationError

    from inferctl.errors import UsageError
    from inferctl.keys import KeyName, hash_of, new_key

    try:
        TypeAdapter(KeyName).validate_python(name)
    except ValidationError:
        raise UsageError(
            "a key's name is up to 32 of a-z, 0-9, - and _", where=repr(name), hint="e.g. ci"
        ) from None
    made = new_key()
    scopes = ", ".join(f'"{each}"' for each in dict.fromkeys(scope or [Scope.PREDICT]))
    sys.stderr.write(f"{made}\n")
    sys.stderr.write("The key above is shown this once; the server needs what follows alone.\n")
    sys.stderr.flush()
    sys.stdout.write(f"\n[server.api_keys.{name}]\n")
    sys.stdout.write(f'hash = "{hash_of(made.encode())}"\nscopes = [{scopes}]\n')
