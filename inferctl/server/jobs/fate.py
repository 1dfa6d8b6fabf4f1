"""What an answer to an item means for its job."""

from __future__ import annotations

import re
from enum import Enum

from inferctl.errors import InferctlError
from inferctl.refusals import (
    ClientGone,
    DeadlineExceeded,
    EngineCrash,
    Overloaded,
    RequestTimeout,
    Unavailable,
)
from inferctl.server.call import Reply

# Whoever is to come back is not kept waiting longer, whatever he was told: he has a lease to keep.
LONGEST_WAIT_S = 5.0
# Of a refusal that does not say when to come back.
USUAL_WAIT_S = 1.0
RETRY_AFTER_MS = re.compile(rb"retry-after-ms: (\d+)")

# An item of which nobody wants the answer now is one that its "client" has left.
PASSING = frozenset(
    (RequestTimeout.status, Overloaded.status, Unavailable.status, ClientGone.status)
)
# Another attempt may go well: the item may not be what ended this one.
ENDING = frozenset((EngineCrash.code, DeadlineExceeded.code, InferctlError.code))


class Fate(Enum):
    """An answer is the item's result; or it is to be asked again; or the attempt is over."""

    RESULT = "result"
    AGAIN = "again"
    BROKEN = "broken"


def fate_of(reply: Reply, *, was_run: bool) -> Fate:
    """What comes of it; `was_run` is whether the model has begun with it."""
    if reply.status in PASSING:
        return Fate.AGAIN
    if reply.outcome == DeadlineExceeded.code and not was_run:  # others were more urgent
        return Fate.AGAIN
    return Fate.BROKEN if reply.outcome in ENDING else Fate.RESULT


def wait_s(reply: Reply) -> float:
    """Seconds until what was refused is asked again."""
    found = RETRY_AFTER_MS.search(reply.extra)
    return min(int(found[1]) / 1000 if found else USUAL_WAIT_S, LONGEST_WAIT_S)
