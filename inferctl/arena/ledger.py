"""Every number the service reports, in shared memory: one block per process, one writer per block.

Any worker can answer /metrics for all of them. A block outlives its process, so counters never go
back when a worker or the engine is replaced. Counting costs one memory write; a library that keeps
a file per process costs microseconds per count and forgets or accumulates files on restarts.

A version of a model has a place, whose number is the same in every process, and its series lie
there. Once it is gone they stay, and go on when it comes back. What many of a model have left is
added up in a place that is of no version, see `add_up`. So the sum over a model's places never goes
back. Places that were never taken cost no memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from inferctl.arena.board import BOARD_BYTES, Board
from inferctl.arena.cells import Cell, Histogram
from inferctl.arena.exemplars import EXEMPLARS_BYTES, Exemplars
from inferctl.arena.metric import Metric
from inferctl.arena.metrics import METRICS, metric_of
from inferctl.arena.placed import PLACED_BYTES, PlacedVersions
from inferctl.arena.places import EARLIER, PLACES, PLACES_BYTES, Place, Places
from inferctl.keys import MAX_KEYS

Read = TypeVar("Read")

# Cells at the start of each block that are not metrics of their own.
# An engine says when its watchdog looked last, since when a run is overdue or 0, and whether it
# tries alone what may have killed its predecessor; see `Watchdog` and `Trial`.
# A worker says when its event loop came round last, 0 while it need not.
# The supervisor says in a process' block when the last one died and of what, by its number in
# DEATH_REASONS; in its own since when the service runs, and whether it has come near the limit of
# its memory, and whether it does what is in the job store, or another service does. Moments are of
# the monotonic clock.
PID, CPU_BASE_S, LOOKED_S, OVERDUE_S, TRYING, BEAT_S, DIED_S, DIED_OF, BORN_S = range(9)
MEMORY_IS_SHORT, JOBS_ARE_OURS = 9, 10
STATE_CELLS = 11
CELL_BYTES = 8
# What is of no process alone.
_HEAD_BYTES = PLACES_BYTES + BOARD_BYTES + PLACED_BYTES


def _offsets(metrics: Iterable[Metric], start: int) -> tuple[dict[tuple[str, str], int], int]:
    """The first cell of each series by metric and label value, and the first cell behind all."""
    found = {}
    for metric in metrics:
        for value in metric.values:
            found[metric.name, value] = start
            start += metric.width
    return found, start


_IN_PROCESS, _PLACES_START = _offsets((m for m in METRICS if not m.per_model), STATE_CELLS)
_IN_PLACE, _PLACE_CELLS = _offsets((m for m in METRICS if m.per_model), 0)
_BLOCK_CELLS = _PLACES_START + PLACES * _PLACE_CELLS


def cells_of(metric: Metric) -> range:
    """The cells of a metric, in the order of its values, within `Block.at` or `Block.own`."""
    start = (_IN_PLACE if metric.per_model else _IN_PROCESS)[metric.name, metric.values[0]]
    return range(start, start + metric.width * len(metric.values))


def ledger_bytes(processes: int) -> int:
    """Bytes of shared memory for the places' owners, the board of GPUs, where versions run, the
    blocks of `processes` processes, what API keys have used in each, and requests as examples."""
    cells_bytes = (_BLOCK_CELLS + MAX_KEYS) * CELL_BYTES
    return _HEAD_BYTES + (cells_bytes + PLACES * EXEMPLARS_BYTES) * processes


class Block:
    """The numbers of one process. Metrics that are not of models have no place."""

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells = cells

    def cell(self, name: str, place: int = 0, value: str = "") -> Cell:
        """A counter or gauge series."""
        return Cell(self._cells, self._start(name, place, value))

    def histogram(self, name: str, place: int) -> Histogram:
        """A histogram series."""
        return Histogram(self._cells, self._start(name, place, ""), metric_of(name).buckets)

    def read(self, metric: Metric, place: int = 0, value: str = "") -> list[float]:
        """Every cell of a series."""
        start = self._start(metric.name, place, value)
        return list(self._cells[start : start + metric.width])

    def _start(self, name: str, place: int, value: str) -> int:
        if (name, value) in _IN_PROCESS:
            return _IN_PROCESS[name, value]
        return _PLACES_START + place * _PLACE_CELLS + _IN_PLACE[name, value]

    def reset_gauges(self, places: Iterable[int]) -> None:
        """A new process starts with empty queues; its counters go on."""
        for metric in METRICS:
            if metric.kind == "gauge" and not metric.per_model:
                for value in metric.values:
                    self.cell(metric.name, value=value).set(0.0)
        for place in places:
            self.reset_gauges_at(place)

    def reset_gauges_at(self, place: int) -> None:
        """A version comes to a place, or has left it."""
        for metric in METRICS:
            if metric.kind == "gauge" and metric.per_model:
                self.cell(metric.name, place).set(0.0)

    def clear(self, place: int) -> None:
        """Forget what was counted at a place that nobody uses."""
        cells = self.at(place)
        for cell in range(len(cells)):
            cells[cell] = 0.0

    def own(self) -> memoryview[float]:
        """Every cell that is of no place."""
        return self._cells[:_PLACES_START]

    def at(self, place: int) -> memoryview[float]:
        """Every cell of a place: of each metric of models, of each of its values."""
        start = _PLACES_START + place * _PLACE_CELLS
        return self._cells[start : start + _PLACE_CELLS]

    def add_up(self, at: int, others: Iterable[tuple[Block, int]]) -> None:
        """Count at a place what these blocks did at these places, and forget what it had."""
        columns = zip(*(block.at(place) for block, place in others), strict=True)
        for cell, counted in enumerate(columns, _PLACES_START + at * _PLACE_CELLS):
            self._cells[cell] = sum(counted)
        self.reset_gauges_at(at)

    def state(self, cell: int) -> Cell:
        """The PID cell, or another one that is no metric."""
        return Cell(self._cells, cell)


class Ledger:
    """All blocks: index 0 is the supervisor's, 1 the engine's, 2 and up the workers'."""

    SUPERVISOR, ENGINE, FIRST_WORKER = 0, 1, 2

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        view = memoryview(memory)
        self._places = Places(view)
        self.board = Board(view[PLACES_BYTES : PLACES_BYTES + BOARD_BYTES])
        self.placed = PlacedVersions(view[PLACES_BYTES + BOARD_BYTES : _HEAD_BYTES])
        processes = self.FIRST_WORKER + workers
        rest = view[_HEAD_BYTES:]
        count = (_BLOCK_CELLS + MAX_KEYS) * processes
        cells = rest[: count * CELL_BYTES].cast("d")
        self._exemplars = rest[count * CELL_BYTES :]
        self.blocks = [
            Block(cells[i * _BLOCK_CELLS : (i + 1) * _BLOCK_CELLS]) for i in range(processes)
        ]
        self._used = cells[processes * _BLOCK_CELLS :]

    def used_by_keys(self, process: int) -> memoryview[float]:
        """A cell for each API key, of one process; the supervisor's are all workers' in common."""
        return self._used[process * MAX_KEYS : (process + 1) * MAX_KEYS]

    def exemplars(self, process: int, place: int) -> Exemplars:
        """Requests for the version at a place that a process has answered."""
        start = (process * PLACES + place) * EXEMPLARS_BYTES
        return Exemplars(self._exemplars[start : start + EXEMPLARS_BYTES])

    @classmethod
    def role(cls, process: int) -> str:
        """The role of the process that writes a block."""
        return {cls.SUPERVISOR: "supervisor", cls.ENGINE: "engine"}.get(process, "worker")

    def give_place(self, place: int, model: str, version: int) -> None:
        """Let a version have a place from now on; what another one counted there is forgotten.

        For the supervisor alone, as all that changes places, and while nobody uses the place.
        """
        places = self.places()
        before = places.pop(place, None)
        # What is nobody's is empty: to clear it once more would only take memory.
        if before and (before.model, before.version) != (model, version):
            self._places.write(places)
            self._clear(place)
        self._places.write(places | {place: Place(model, version)})

    def leave_place(self, place: int) -> None:
        """A version is no longer in memory; what it counted stays, and is its own."""
        places = self.places()
        self._places.write(places | {place: places[place]._replace(is_taken=False)})

    def add_up(self, left: Sequence[int], at: int) -> None:
        """What was counted at places that versions of one model have left is at another one, which
        was nobody's, as what earlier ones counted; they are nobody's now."""
        places = self.places()
        model = places[left[0]].model
        self.blocks[self.SUPERVISOR].add_up(
            at, [(block, place) for block in self.blocks for place in left]
        )
        kept = {place: owner for place, owner in places.items() if place not in left}
        self._places.write(kept | {at: Place(model, EARLIER, is_taken=False)})
        for place in left:
            self._clear(place)

    def _clear(self, place: int) -> None:
        """Forget what was counted at a place that is nobody's."""
        for process, block in enumerate(self.blocks):
            block.clear(place)
            self.exemplars(process, place).clear()

    def places(self) -> dict[int, Place]:
        """The places that a version has, or has left."""
        return self._places.read()

    def of_one_moment(self, read: Callable[[Mapping[int, Place]], Read]) -> Read:
        """What is read of the places and of what was counted there, none of it moved meanwhile."""
        while True:
            changes = self._places.changes
            found = read(self.places())
            if self._places.changes == changes:
                return found

    def total(self, name: str, place: int = 0, value: str = "") -> float:
        """Sum of a counter or gauge over all processes."""
        return sum(block.cell(name, place, value).get() for block in self.blocks)
