"""For processes that only prepare something: coverage would slow them by two fifths.

And for those that a signal interrupts: an exception in the middle of coverage's own code leaves its
lock taken, once in some thousand times, and they wait for it for ever.
"""

from __future__ import annotations

import os


def without_coverage() -> dict[str, str]:
    """Our environment, but for what has a new process measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
