"""Every number the service reports, in shared memory: one block per process, one writer per block.

Any worker can answer /metrics for all of them. A block outlives its process, so counters never go
back when a worker or the engine is replaced. Counting costs one memory write; a library that keeps
a file per process costs microseconds per count and forgets or accumulates files on restarts.

A version of a model has a place, whose number is the same in every process, and its series lie
there. Another version of the model may run beside it in a place of its own; a place that is free
again goes to the next version of the same model, whose counters go on in it. So the sum over a
model's places never goes back. Places that were never taken cost no memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

from inferctl.arena.cells import Cell, Histogram
from inferctl.arena.metric import (
    BATCH_BUCKETS,
    CLOSE_REASONS,
    DEATH_REASONS,
    DROP_REASONS,
    LATENCY_BUCKETS_S,
    OUTCOMES,
    SHED_REASONS,
    Metric,
)
from inferctl.arena.routes import ROUTES
from inferctl.keys import MAX_KEYS

METRICS: tuple[Metric, ...] = (
    Metric(
        "inferctl_requests_total", "counter",
        "Every HTTP request whose head was complete, once: by model, if it was for one that is "
        "served, route and outcome",
        per_model=False, label="route outcome",
        values=tuple(f"{route} {outcome}" for route in ROUTES for outcome in OUTCOMES),
    ),
    Metric(
        "inference_requests_total", "counter", "Predict requests answered, by outcome",
        label="outcome", values=OUTCOMES,
    ),
    Metric(
        "inference_latency_seconds", "histogram",
        "From the request's headers to its answer", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_failed_seconds_total", "counter",
        "Seconds of inference_latency_seconds of requests that failed",
    ),
    Metric("inference_batch_size", "histogram", "Rows run together", buckets=BATCH_BUCKETS),
    Metric(
        "inferctl_queue_seconds", "histogram",
        "From a row's submission to its run", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_run_seconds", "histogram",
        "Gather, run and scatter of a batch", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_decode_seconds", "histogram",
        "From the body to the row's tensors", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_postprocess_seconds", "histogram",
        "From a request's outputs to what its answer says", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_shed_total", "counter", "Predict requests refused with 429, by reason",
        label="reason", values=SHED_REASONS,
    ),
    Metric(
        "inferctl_dropped_total", "counter", "Rows dropped before running, by reason",
        label="reason", values=DROP_REASONS,
    ),
    Metric("inferctl_rows_total", "counter", "Rows run"),
    Metric("inferctl_bisects_total", "counter", "Batches that failed and were run in parts"),
    Metric("inferctl_poisoned_rows_total", "counter", "Rows that failed alone"),
    Metric("inferctl_tokens_total", "counter", "Tokens of the rows run; texts only"),
    Metric(
        "inferctl_padding_tokens_total", "counter",
        "Tokens run besides them to make the rows of a batch alike",
    ),
    Metric("inferctl_queue_rows", "gauge", "Rows waiting in the engine"),
    Metric("inferctl_in_flight", "gauge", "Slots in use"),
    Metric(
        "inferctl_max_batch_rows", "gauge", "Largest batch the engine forms", of_model="largest"
    ),
    Metric("inferctl_instances", "gauge", "Batches run side by side", of_model="largest"),
    Metric(
        "inferctl_batch_cap_rows", "gauge",
        "Rows of a batch that the memory holds; 0 while none was too large", of_model="largest",
    ),
    Metric(
        "inferctl_row_seconds", "gauge", "Seconds per row at which the queue drains",
        of_model="largest",
    ),
    Metric(
        "inferctl_engine_ready", "gauge", "1 when every model is loaded and warm", per_model=False
    ),
    Metric(
        "inferctl_engine_on_cuda", "gauge", "1 when the engine's sessions run on CUDA",
        per_model=False,
    ),
    Metric(
        "inferctl_draining", "gauge", "Above 0 once the service ends, or one of its processes",
        per_model=False,
    ),
    Metric(
        "inferctl_restarts_total", "counter", "Processes started again after they died",
        per_model=False, label="role", values=("engine", "worker"),
    ),
    Metric(
        "inferctl_engine_restarts_total", "counter",
        "Engines started again, by how the last one ended",
        per_model=False, label="reason", values=DEATH_REASONS,
    ),
    Metric(
        "inferctl_engine_timeouts_total", "counter",
        "Runs that took longer than runtime.max_run_ms allows, and were told to end",
        per_model=False,
    ),
    Metric(
        "inferctl_reloads_total", "counter",
        "Versions that were to be loaded into the running service, by what became of them",
        per_model=False, label="outcome", values=("ok", "failed"),
    ),
    Metric("inferctl_connections", "gauge", "Connections that are open", per_model=False),
    Metric(
        "inferctl_connections_closed_total", "counter", "Connections that ended, by reason",
        per_model=False, label="reason", values=CLOSE_REASONS,
    ),
    Metric(
        "inferctl_loop_lag_seconds", "histogram",
        "How late the workers' event loops were, ten times a second each",
        per_model=False, buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_loop_stalls_total", "counter",
        "Times that a worker's event loop was blocked for 2 s; its stack is in the service's log",
        per_model=False,
    ),
    Metric("inferctl_log_dropped_total", "counter", "Request log lines lost", per_model=False),
)  # fmt: skip

# Cells at the start of each block that are not metrics of their own.
# An engine says when its watchdog looked last, since when a run is overdue or 0, and whether it
# tries alone what may have killed its predecessor; see `Watchdog` and `Trial`.
# A worker says when its event loop came round last, 0 while it need not.
PID, CPU_BASE_S, LOOKED_S, OVERDUE_S, TRYING, BEAT_S = range(6)
STATE_CELLS = 6
CELL_BYTES = 8
# Versions that may be in memory at a time, those included that are on their way in or out.
PLACES = 256
# As long as a name may be; one that is not full ends with zeros.
NAME_BYTES = 64


def _offsets(metrics: Iterable[Metric], start: int) -> tuple[dict[tuple[str, str], int], int]:
    """The first cell of each series by metric and label value, and the first cell behind all."""
    found = {}
    for metric in metrics:
        for value in metric.values:
            found[metric.name, value] = start
            start += metric.width
    return found, start


_BY_NAME = {metric.name: metric for metric in METRICS}
_IN_PROCESS, _PLACES_START = _offsets((m for m in METRICS if not m.per_model), STATE_CELLS)
_IN_PLACE, _PLACE_CELLS = _offsets((m for m in METRICS if m.per_model), 0)
_BLOCK_CELLS = _PLACES_START + PLACES * _PLACE_CELLS


def metric_of(name: str) -> Metric:
    """The metric of a name."""
    return _BY_NAME[name]


def ledger_bytes(processes: int) -> int:
    """Bytes of shared memory for the places' names, the blocks of `processes` processes, and what
    API keys have used in each."""
    return PLACES * NAME_BYTES + (_BLOCK_CELLS + MAX_KEYS) * processes * CELL_BYTES


class Block:
    """The numbers of one process. Metrics that are not of models have no place."""

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells = cells

    def cell(self, name: str, place: int = 0, value: str = "") -> Cell:
        """A counter or gauge series."""
        return Cell(self._cells, self._start(name, place, value))

    def histogram(self, name: str, place: int) -> Histogram:
        """A histogram series."""
        return Histogram(self._cells, self._start(name, place, ""), _BY_NAME[name].buckets)

    def read(self, metric: Metric, place: int = 0, value: str = "") -> list[float]:
        """Every cell of a series."""
        start = self._start(metric.name, place, value)
        return list(self._cells[start : start + metric.width])

    def read_all(self, metric: Metric, place: int = 0) -> list[float]:
        """Every cell of a metric, in the order of its values."""
        start = self._start(metric.name, place, metric.values[0])
        return list(self._cells[start : start + metric.width * len(metric.values)])

    def _start(self, name: str, place: int, value: str) -> int:
        if (name, value) in _IN_PROCESS:
            return _IN_PROCESS[name, value]
        return _PLACES_START + place * _PLACE_CELLS + _IN_PLACE[name, value]

    def reset_gauges(self, places: Iterable[int]) -> None:
        """A new process starts with empty queues; its counters go on."""
        for metric in METRICS:
            if metric.kind == "gauge" and not metric.per_model:
                self.cell(metric.name).set(0.0)
        for place in places:
            self.reset_gauges_at(place)

    def reset_gauges_at(self, place: int) -> None:
        """A version comes to a place, or has left it."""
        for metric in METRICS:
            if metric.kind == "gauge" and metric.per_model:
                self.cell(metric.name, place).set(0.0)

    def clear(self, place: int) -> None:
        """Forget what was counted at a place that nobody uses."""
        start = _PLACES_START + place * _PLACE_CELLS
        for cell in range(start, start + _PLACE_CELLS):
            self._cells[cell] = 0.0

    def state(self, cell: int) -> Cell:
        """The PID cell, or another one that is no metric."""
        return Cell(self._cells, cell)


class Ledger:
    """All blocks: index 0 is the supervisor's, 1 the engine's, 2 and up the workers'."""

    SUPERVISOR, ENGINE, FIRST_WORKER = 0, 1, 2

    def __init__(self, memory: mmap.mmap, workers: int) -> None:
        self._names = memoryview(memory)[: PLACES * NAME_BYTES]
        cells = memoryview(memory)[PLACES * NAME_BYTES :].cast("d")
        self.blocks = [
            Block(cells[i * _BLOCK_CELLS : (i + 1) * _BLOCK_CELLS])
            for i in range(self.FIRST_WORKER + workers)
        ]
        self._used = cells[len(self.blocks) * _BLOCK_CELLS :]

    def used_by_keys(self, process: int) -> memoryview[float]:
        """A cell for each API key, of one process; the supervisor's are all workers' in common."""
        return self._used[process * MAX_KEYS : (process + 1) * MAX_KEYS]

    @classmethod
    def role(cls, process: int) -> str:
        """The role of the process that writes a block."""
        return {cls.SUPERVISOR: "supervisor", cls.ENGINE: "engine"}.get(process, "worker")

    def give_place(self, place: int, model: str) -> None:
        """Let a model have a place from now on; what another one counted there is forgotten.

        For the supervisor alone, and while nobody uses the place.
        """
        if self.places().get(place) == model:
            return
        name = self._names[place * NAME_BYTES : (place + 1) * NAME_BYTES]
        name[:] = bytes(NAME_BYTES)
        for block in self.blocks:
            block.clear(place)
        name[:] = model.encode("ascii").ljust(NAME_BYTES, b"\0")

    def places(self) -> dict[int, str]:
        """The places that have a model, also those that are free since, and its name."""
        names = bytes(self._names)
        found = {}
        for place in range(PLACES):
            name = names[place * NAME_BYTES : (place + 1) * NAME_BYTES].rstrip(b"\0")
            if name:
                found[place] = name.decode("ascii")
        return found

    def total(self, name: str, place: int = 0, value: str = "") -> float:
        """Sum of a counter or gauge over all processes."""
        return sum(block.cell(name, place, value).get() for block in self.blocks)

    def histogram(self, name: str, place: int) -> list[float]:
        """A histogram over all processes: its buckets, what is above them, and its sum."""
        metric = _BY_NAME[name]
        cells = (block.read(metric, place) for block in self.blocks)
        return [sum(same) for same in zip(*cells, strict=True)]
