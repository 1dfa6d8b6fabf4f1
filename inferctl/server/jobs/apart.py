"""Jobs that are to be done alone, and were claimed beside others: begun once nothing else is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inferctl.server.jobs.attempt import Attempt

# Nobody waits for the end of a job of many items: it is tried again after so long. Not often: many
# claims are what tells a job that ends services, see `sqlite.preparation`.
BESIDE_BULK_S = 60.0


class Apart:
    """Those that this worker has handed back. While it has one it claims nothing else, so that what
    it does comes to its end; others may have claimed that by then."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def add(self, ids: Iterable[str]) -> None:
        """Some more."""
        self._ids += ids

    def next(self, going: Sequence[Attempt]) -> list[str] | None:
        """What is to be claimed now, by its id, and nothing else; None where nothing is waited for.
        `going` are the attempts that there are."""
        if let_be_s(going):
            self._ids.clear()
        if not self._ids:
            return None
        return [] if going else [self._ids.pop(0)]


def let_be_s(going: Sequence[Attempt]) -> float:
    """For how long one is let be that was claimed beside these."""
    return BESIDE_BULK_S if any(one.claim.is_bulk for one in going) else 0.0
