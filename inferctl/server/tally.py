"""Counts the requests that no model counts: each request is counted once, here or there."""

from __future__ import annotations

from inferctl.arena.ledger import Block
from inferctl.errors import InferctlError
from inferctl.refusals import NotFound, RequestError, Unavailable, Unsupported
from inferctl.server.call import OK

# Of answers that are no problems of ours: a route said their status alone.
OUTCOMES_BY_STATUS = {
    error.status: error.code for error in (RequestError, NotFound, Unsupported, Unavailable)
}


class Tally:
    """One worker's counts, by route (see arena/routes.py) and outcome."""

    def __init__(self, block: Block) -> None:
        self.block = block

    def count(self, route: str, outcome: str) -> None:
        """A request was answered, or its client has left."""
        self.block.cell("inferctl_requests_total", value=f"{route} {outcome}").add()


def outcome_of(status: int, said: str) -> str:
    """The outcome of an answer that has this status; `said` is its problem's code, if it is one."""
    if status < RequestError.status:
        return OK
    if said == InferctlError.code:
        return OUTCOMES_BY_STATUS.get(status, said)
    return said
