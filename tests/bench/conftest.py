"""A server process for the tests that need one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

SERVER = Path(__file__).with_name("serving.py")


@dataclass(frozen=True)
class Running:
    """The server's address, and the lines that it prints after its port."""

    url: str
    lines: IO[str]


@pytest.fixture
def server() -> Iterator[Running]:
    """A fresh server: its counters start at zero."""
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            # It listens before it prints: whoever connects now is served.
            yield Running(f"http://127.0.0.1:{child.stdout.readline().strip()}", child.stdout)
        finally:
            child.kill()
