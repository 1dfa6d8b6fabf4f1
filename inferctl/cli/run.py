"""Starting the service from a command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import structlog

from inferctl.diagnostics import unblock_stderr
from inferctl.settings import Settings
from inferctl.supervisor.service import Service
from inferctl.tracing import Tracing


def fill_standard_streams() -> None:
    """Where stdin, stdout or stderr is closed, open nothing in its place.

    Or a socket of ours would get its number, and every child would take it for that stream.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
        if number == 1:
            sys.stdout = open(number, "w", closefd=False)  # noqa: SIM115 - to the end
        elif number == 2:
            sys.stderr = open(number, "w", closefd=False)  # noqa: SIM115 - to the end
    os.close(number)


def run_service(read_settings: Callable[[], Settings], tracing: Tracing | None) -> None:
    """Serve until a signal, then exit. Raises StartError, BundleError or SettingsError.

    The settings are read again when the models are.
    """
    fill_standard_streams()
    unblock_stderr()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.dev.ConsoleRenderer(pad_event_to=0, colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    sys.exit(asyncio.run(Service(read_settings, tracing).run()))
