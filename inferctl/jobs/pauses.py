"""How long a job is let be between an attempt that came to nothing and the next one."""

from __future__ import annotations

# 1 s, 4 s, 16 s, ...
FIRST_PAUSE_S, PAUSE_GROWTH = 1.0, 4.0
# After an answer that ended the attempt; and after the death of whoever was at it.
LONGEST_PAUSE_S, LONGEST_AFTER_DEATH_S = 300.0, 60.0


def pause_s(attempts: int, longest_s: float) -> float:
    """Seconds, of a job that was begun so often: from 1 on."""
    return min(FIRST_PAUSE_S * PAUSE_GROWTH ** (attempts - 1), longest_s)
