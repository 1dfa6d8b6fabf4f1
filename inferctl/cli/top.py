"""`inferctl top`: what a running server does, live."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from inferctl.errors import UsageError

SHORTEST_S = 0.1


def top(
    url: Annotated[str, typer.Argument(help="The server.")] = "http://127.0.0.1:8000",
    interval: Annotated[
        str, typer.Option("--interval", "-i", help="Time between two looks: 1s, 0.5s, 1m.")
    ] = "1s",
    once: Annotated[
        bool, typer.Option("--once", help="Print the figures of one interval, and exit.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --once: as JSON.")] = False,
) -> None:
    """Watch a running server: rates, latencies, batches and queue of each model, CPU and memory.

    q or Ctrl-C quits. It reads /metrics and /health, from anywhere.

    The key of a server that wants one is the variable INFERCTL_API_KEY.
    """
    import asyncio
    from json import dumps

    from rich.console import Console

    from inferctl.bench import parse_duration
    from inferctl.top import Plan, Screen, document, look, watch
    from inferctl.variables import api_key

    interval_s = parse_duration(interval)
    if interval_s < SHORTEST_S:
        raise UsageError(f"shorter than {SHORTEST_S:g} s", where="--interval")
    if json and not once:
        raise UsageError("this is one reading", where="--json", hint="say --once too")
    plan = Plan(url, interval_s, api_key())
    console = Console(file=sys.stdout, highlight=False)
    if not once:
        if not console.is_terminal:
            raise UsageError("standard output is no terminal", hint="say --once")
        sys.exit(asyncio.run(watch(plan, console)))
    screen = Screen(url)
    asyncio.run(look(plan, screen))
    if json and screen.figures:
        sys.stdout.write(dumps(document(url, screen.figures), indent=2) + "\n")
    else:
        console.print(screen)
