"""One model as a worker serves it: its slots, its gate and its counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from inferctl.arena.ledger import Ledger
from inferctl.arena.metric import OUTCOMES
from inferctl.arena.slots import FreeSlots, ModelArena
from inferctl.server.admission import Admission
from inferctl.server.call import OK
from inferctl.server.gate import Gate
from inferctl.server.offer import Offer
from inferctl.server.traceparent import Trace
from inferctl.tasks.base import Array, Prepared


class ServedModel:
    """One version. `place` is its number in the service; the same in every process.

    `requests` are those on their way that were sent to it. Once it is `leaving` no more of them
    come, and whoever ends one must `look` whether it was the last.
    """

    def __init__(self, offer: Offer, arena: ModelArena, worker: int, ledger: Ledger) -> None:
        self.place = place = offer.place
        self.offer = offer
        self.requests = 0
        self.leaving = False
        self._left: Callable[[], object] | None = None
        self.manifest = manifest = offer.manifest
        self.settings = offer.settings
        self.task = offer.task
        self.arena = arena
        self.gate = Gate(offer.settings.limits.max_concurrent)
        self._token_inputs = {t.name for t in manifest.inputs if "tokens" in t.shape}
        self._outputs = tuple(arena.outputs.items())
        # Plain memory reads and writes of single numbers faster than numpy.
        self._tokens = arena.tokens.data
        self._cancelled, self._bulk = arena.cancelled.data, arena.bulk.data
        self.deadline_s, self.submitted_s = _seconds(arena.deadline_s), _seconds(arena.submitted_s)
        self._started_s, self._finished_s = _seconds(arena.started_s), _seconds(arena.finished_s)
        self._batch_rows = arena.batch_rows.data
        block = ledger.blocks[Ledger.FIRST_WORKER + worker]
        in_flight = block.cell("inferctl_in_flight", place)
        bulk_in_flight = block.cell("inferctl_bulk_in_flight", place)
        self._free = free = FreeSlots(arena.slots_of(worker), in_flight, bulk_in_flight)
        self.admission = Admission(
            free, ledger, worker, place, arena.workers, self.settings.limits, arena.row_bytes
        )
        self.admit = self.admission.admit
        # Slots of rows that were admitted; their ways back, with and without a slot.
        self.take, self.give_back, self.cancel = free.take, free.give_back, free.cancel
        self.name = manifest.name
        self.version = manifest.version
        self.queue_seconds = block.histogram("inferctl_queue_seconds", place)
        self.decode_seconds = block.histogram("inferctl_decode_seconds", place)
        self.postprocess_seconds = block.histogram("inferctl_postprocess_seconds", place)
        self._failed_seconds = block.cell("inferctl_failed_seconds_total", place)
        self._latency_seconds = block.histogram("inference_latency_seconds", place)
        # Those that are part of a trace which is kept, as examples.
        self.exemplars = ledger.exemplars(Ledger.FIRST_WORKER + worker, place)
        self._requests = {
            outcome: block.cell("inference_requests_total", place, outcome) for outcome in OUTCOMES
        }

    def leave(self, left: Callable[[], object]) -> None:
        """It is no longer served. `left` is called once its last request and row are done."""
        self.leaving = True
        self._left = left
        self.look()

    def look(self) -> None:
        """Whether it has left."""
        if self._left and not self.requests and not self._free.in_use:
            left, self._left = self._left, None
            left()

    def write(
        self, slots: Sequence[int], prepared: Prepared, deadline_s: float, bulk: bool
    ) -> None:
        """Put the rows into their slots; `deadline_s` is on the monotonic clock."""
        arena, index = self.arena, _index(slots)
        for name, rows in prepared.tensors.items():
            column = arena.inputs[name]
            if name in self._token_inputs:  # the rest of a longer predecessor must go
                column[index, : rows.shape[1]] = rows
                column[index, rows.shape[1] :] = self._padding(name)
            else:
                column[index] = rows
        for slot in slots:
            self._tokens[slot] = prepared.tokens
            self.deadline_s[slot] = deadline_s
            self._cancelled[slot] = 0
            self._bulk[slot] = bulk
        if bulk:
            self._free.mark_bulk(slots)

    def _padding(self, name: str) -> int:
        text = self.manifest.text
        return text.pad_id if text and name == "input_ids" else 0

    def outputs(self, slots: Sequence[int]) -> dict[str, Array]:
        """The rows' outputs [rows, ...]; of one row views that are valid until `give_back`."""
        index = _index(slots)
        return {name: column[index] for name, column in self._outputs}

    def verdict_of_trial(self, slot: int) -> int | None:
        """What became of a row that an engine tried alone; None of one that was not."""
        arena = self.arena
        # The slot may have had a row before that was.
        if arena.tried_s[slot] != self.submitted_s[slot]:
            return None
        return int(arena.verdict[slot])

    def times(self, slots: Sequence[int]) -> tuple[float, float, int]:
        """Seconds that the rows waited in the queue, and from their first run to their last; and
        how many rows were in the largest batch that one of them ran in."""
        if len(slots) == 1:
            (slot,) = slots
            started_s, finished_s = self._started_s[slot], self._finished_s[slot]
            batch_rows = self._batch_rows[slot]
        else:
            started_s = min(self._started_s[slot] for slot in slots)
            finished_s = max(self._finished_s[slot] for slot in slots)
            batch_rows = max(self._batch_rows[slot] for slot in slots)
        return started_s - self.submitted_s[slots[0]], finished_s - started_s, batch_rows

    def batches(self, slots: Sequence[int]) -> list[float]:
        """When the batches of the rows were started: rows of the same batch have the same."""
        return sorted({self._started_s[slot] for slot in slots})

    def count(self, outcome: str, latency_s: float, trace: Trace | None = None) -> None:
        """A request was answered."""
        self._requests[outcome].add()
        self._latency_seconds.observe(latency_s)
        if trace is not None and trace.sampled:
            self.exemplars.keep(latency_s, time.time(), trace.trace_id)
        if outcome != OK:
            self._failed_seconds.add(latency_s)


def _index(slots: Sequence[int]) -> slice | Sequence[int]:
    """Slots as an index of columns; a single one, the usual case, reads without a copy."""
    return slice(slots[0], slots[0] + 1) if len(slots) == 1 else slots


def _seconds(column: npt.NDArray[np.float64]) -> memoryview[float]:
    return column.data.cast("B").cast("d")
