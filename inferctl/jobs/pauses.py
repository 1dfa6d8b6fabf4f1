"""How long a job is let be after an attempt that came to nothing, and a store after a failure."""

from __future__ import annotations

# 1 s, 4 s, 16 s, ...
FIRST_PAUSE_S, PAUSE_GROWTH = 1.0, 4.0
# After an answer that ended the attempt; and after the death of whoever was at it.
LONGEST_PAUSE_S, LONGEST_AFTER_DEATH_S = 300.0, 60.0
# Of who was refused by the store.
LONGEST_BACKOFF_S = 5.0


def pause_s(attempts: int, longest_s: float) -> float:
    """Seconds, of a job that was begun so often: from 1 on."""
    return min(FIRST_PAUSE_S * PAUSE_GROWTH ** (attempts - 1), longest_s)


def return_s(lease_s: float) -> float:
    """Seconds after which everybody has come back who lives, once a store can be used again: to a
    third of a lease, after which it is renewed, and the pause of whoever was refused."""
    return lease_s / 3 + min(lease_s / 3, LONGEST_BACKOFF_S)
