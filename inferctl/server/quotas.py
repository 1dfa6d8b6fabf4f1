"""How much of the service an API key may use."""

from __future__ import annotations

from collections.abc import Sequence

from inferctl.arena.ledger import Ledger
from inferctl.arena.spec import KeySpec
from inferctl.refusals import RETRY_HINT, Overloaded

# A second's requests may come at once.
BURST_S = 1.0
# Sums of intervals are not exact.
TOLERANCE_S = 1e-6


class Quota:
    """What a key may use and has used, in all workers together.

    Nobody locks: workers that count in the same instant may let one request each through too many.
    """

    def __init__(self, spec: KeySpec, ledger: Ledger, process: int) -> None:
        """`process` is the number of this worker's block."""
        self._cell = spec.cell
        self._max_concurrent = spec.max_concurrent
        self._interval_s = 1 / spec.requests_per_s if spec.requests_per_s else 0.0
        self._lead_s = max(BURST_S, self._interval_s) - self._interval_s + TOLERANCE_S
        # When its next request is due if it keeps to its rate; every worker writes it.
        self._due_s = ledger.used_by_keys(Ledger.SUPERVISOR)
        self._under_way = ledger.used_by_keys(process)
        self._all_under_way: Sequence[memoryview[float]] = [
            ledger.used_by_keys(other) for other in range(Ledger.FIRST_WORKER, len(ledger.blocks))
        ]

    def enter(self, now_s: float) -> None:
        """A request begins, and must `leave`. Raises Overloaded: then it has not begun."""
        cell = self._cell
        if self._max_concurrent:
            under_way = sum(cells[cell] for cells in self._all_under_way)
            if under_way >= self._max_concurrent:
                raise Overloaded(
                    f"this key may have {self._max_concurrent} requests under way",
                    hint="wait for their answers",
                    reason="quota",
                )
        if self._interval_s:
            latest_s = now_s + self._lead_s + self._interval_s
            # More than anybody can owe who keeps to these terms: the key had others, or the cell
            # another key.
            if self._due_s[cell] > latest_s:
                self._due_s[cell] = latest_s
            due_s = max(self._due_s[cell], now_s)
            if due_s - now_s > self._lead_s:
                raise Overloaded(
                    f"this key may ask {1 / self._interval_s:g} times a second",
                    hint=RETRY_HINT,
                    reason="quota",
                    retry_after_s=due_s - now_s - self._lead_s,
                )
            self._due_s[cell] = due_s + self._interval_s
        self._under_way[cell] += 1

    def leave(self) -> None:
        """The request was answered."""
        self._under_way[self._cell] -= 1
