"""The arena of one model: a column per tensor, a slot per row.

A worker owns a fixed range of slots, writes a row's tensors into a free one, and sends its number;
the engine gathers the slots of a batch with one indexed read per tensor and scatters the outputs
with one indexed write. Nothing here is locked: a slot has one writer at any time.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.arena.cells import Cell
from inferctl.arena.layout import column_bytes, columns
from inferctl.bundles.manifest import Manifest

Array = npt.NDArray[Any]


class ModelArena:
    """Typed views of one model's shared memory.

    `inputs` and `outputs` map tensor names to arrays [slots, *row]; the other attributes are
    arrays [slots], see COLUMNS. `row_bytes` is what a row takes of all of them.
    """

    tokens: npt.NDArray[np.int32]
    cancelled: npt.NDArray[np.uint8]
    bulk: npt.NDArray[np.uint8]
    deadline_s: npt.NDArray[np.float64]
    submitted_s: npt.NDArray[np.float64]
    started_s: npt.NDArray[np.float64]
    finished_s: npt.NDArray[np.float64]
    tried_s: npt.NDArray[np.float64]
    verdict: npt.NDArray[np.uint8]
    batch_rows: npt.NDArray[np.int32]

    def __init__(self, manifest: Manifest, slots: int, workers: int, memory: mmap.mmap) -> None:
        self.slots = slots
        self.workers = workers
        self.slots_per_worker = slots // workers
        self.inputs: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        offset = 0
        for key, dtype, shape in columns(manifest, slots):
            array: Array = np.ndarray(shape, dtype, memory, offset)
            kind, _, name = key.rpartition(":")
            if kind:
                (self.inputs if kind == "in" else self.outputs)[name] = array
            else:
                setattr(self, name, array)
            offset += column_bytes(dtype, shape)
        self.row_bytes = offset // slots

    def slots_of(self, worker: int) -> range:
        """The slots that a worker owns."""
        return range(worker * self.slots_per_worker, (worker + 1) * self.slots_per_worker)

    def owner(self, slot: int) -> int:
        """The worker that owns a slot."""
        return slot // self.slots_per_worker

    def by_owner(self, slots: Iterable[int]) -> dict[int, list[int]]:
        """Slots by the worker that owns them."""
        by_worker: defaultdict[int, list[int]] = defaultdict(list)
        each = self.slots_per_worker
        for slot in slots:
            by_worker[slot // each].append(slot)
        return by_worker


class FreeSlots:
    """A worker's free slots of one model; the last one freed is the next one used.

    A row has its place long before it is written: it is reserved first, and which slot it is says
    `take`. Last in, first out then keeps the touched pages few, and warm in the cache, however many
    wait. `in_use` counts what was reserved and not freed since; `gauge` tells the other processes,
    and `bulk_gauge` how many of those have bulk rows.
    """

    def __init__(self, slots: range, gauge: Cell, bulk_gauge: Cell) -> None:
        self._free = list(reversed(slots))
        self._total = len(slots)
        self._gauge, self._bulk_gauge = gauge, bulk_gauge
        self._bulk = set[int]()
        self.in_use = 0

    def reserve(self, rows: int) -> None:
        """Hold places for rows, of which there must be so many `left`."""
        self.in_use += rows
        self._gauge.set(self.in_use)

    def take(self, rows: int) -> list[int]:
        """The slots of rows that were reserved."""
        return [self._free.pop() for _ in range(rows)]

    def mark_bulk(self, slots: Iterable[int]) -> None:
        """They were taken for bulk rows."""
        self._bulk.update(slots)
        self._bulk_gauge.set(len(self._bulk))

    def cancel(self, rows: int) -> None:
        """Free places that were reserved and not taken."""
        self.in_use -= rows
        self._gauge.set(self.in_use)

    def give_back(self, slot: int) -> None:
        """Free a slot that was taken, and whose answer was read or that was never sent."""
        self._free.append(slot)
        self.in_use -= 1
        self._gauge.set(self.in_use)
        if slot in self._bulk:
            self._bulk.remove(slot)
            self._bulk_gauge.set(len(self._bulk))

    @property
    def left(self) -> int:
        """Places that can be reserved."""
        return self._total - self.in_use
