"""What `ps` and `top` call a process; forks all have their parent's command line."""

from __future__ import annotations

import contextlib
from pathlib import Path

OWN_NAME = Path("/proc/self/comm")


def name_process(name: str, own_name: Path = OWN_NAME) -> None:
    """Give this process a name, of which Linux shows 15 bytes; elsewhere it has none."""
    with contextlib.suppress(OSError):
        own_name.write_text(name, encoding="ascii")
