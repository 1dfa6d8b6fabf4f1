"""Lines of a request log, and a way to write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

# Paths that a client may send, so that what shows them does what it wants.
HOSTILE = [
    "/a\n{}", "/\r\n\x1b[2J", "/\x00\x7f", "/\u2028\u0085", '/"}', "/\ud7ff😀", "/\\n", "/[/x]",
    "/[red]x",
]  # fmt: skip


def line(**members: Any) -> bytes:
    """A line as the service writes it."""
    usual = {
        "time": "2026-11-26T21:22:34.341+00:00",
        "request_id": "me",
        "path": "/predict",
        "model": "shapes",
        "version": 3,
        "key_id": None,
        "status": 200,
        "outcome": "ok",
        "total_ms": 12.345,
    }
    return orjson.dumps(usual | members) + b"\n"


def numbered(*numbers: int) -> bytes:
    """Lines whose request ids are these."""
    return b"".join(line(request_id=str(number)) for number in numbers)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
