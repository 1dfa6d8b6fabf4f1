"""What comes by itself, but not at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

GIVE_UP_S = 10


def wait_until(look: Callable[[], T]) -> T:
    """What it says once it says something."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while not (seen := look()):
        assert time.monotonic() < give_up_s, f"in {GIVE_UP_S} s it says {seen!r}"
        time.sleep(0.01)
    return seen
