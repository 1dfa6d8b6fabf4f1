"""On what terms a request is answered: by when, and how urgently."""

from __future__ import annotations

import math
from typing import NamedTuple

from inferctl.refusals import RequestError
from inferctl.server.call import Fields

TIMEOUT_MS = b"x-request-timeout-ms"
PRIORITY = b"x-priority"
BULK = {b"interactive": False, b"bulk": True}
# A number of more digits is longer than any timeout may be, and not read.
MAX_DIGITS = 9


class Terms(NamedTuple):
    """`timeout_s` is None where the request names no deadline; `bulk` rows wait for the others."""

    timeout_s: float | None = None
    bulk: bool = False


USUAL = Terms()


def terms_of(fields: Fields) -> Terms:
    """What a request's headers say. Raises RequestError."""
    timeout_ms, priority = fields.get(TIMEOUT_MS), fields.get(PRIORITY)
    if timeout_ms is None and priority is None:
        return USUAL
    timeout_s = None
    if timeout_ms is not None:
        digits = timeout_ms.lstrip(b"0") if timeout_ms.isdigit() else b""
        if not digits:
            raise RequestError("x-request-timeout-ms is not a whole number of milliseconds")
        timeout_s = int(digits) / 1000 if len(digits) <= MAX_DIGITS else math.inf
    if priority is not None and priority not in BULK:
        raise RequestError("x-priority is neither interactive nor bulk")
    return Terms(timeout_s, BULK[priority or b"interactive"])
