"""Starting the service from a command."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from pathlib import Path
from typing import TextIO, cast

import structlog

from inferctl.bundles.repository import find_bundles
from inferctl.settings import Settings
from inferctl.supervisor.service import Service


class Unbreakable(io.TextIOBase):
    """stderr, whose reader may go away: that must not end the supervision."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
        return len(text)


def run_service(settings: Settings) -> None:
    """Serve until a signal, then exit. Raises StartError, BundleError or SettingsError."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.dev.ConsoleRenderer(pad_event_to=0, colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Unbreakable())),
    )
    bundles = find_bundles(Path(settings.models_dir))
    sys.exit(asyncio.run(Service(settings, bundles).run()))
