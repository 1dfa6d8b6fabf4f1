"""Runs a benchmark's `main` as a command: an error is one line and its class's exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from inferctl.errors import InferctlError

FOLDER = Path(".benchmarks")
REPOSITORY = Path(__file__).resolve().parent.parent


def run(main: Callable[..., Any]) -> None:
    """Parse the command line, call `main`, exit. A SIGTERM unwinds: it stops what was started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        typer.run(main)
    except InferctlError as error:
        sys.stderr.writelines(f"benchmarks: {line}\n" for line in str(error).splitlines())
        sys.exit(error.exit_code)
