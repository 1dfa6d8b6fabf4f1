"""Every number the service reports, in shared memory: one block per process, one writer per block.

Any worker can answer /metrics for all of them. A block outlives its process, so counters never go
back when a worker or the engine is replaced. Counting costs one memory write; a library that keeps
a file per process costs microseconds per count and forgets or accumulates files on restarts.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

OUTCOMES = (
    "ok", "malformed", "not_found", "method_not_allowed", "request_timeout", "too_large",
    "unsupported_media", "unprocessable", "overloaded", "client_gone", "row_failed",
    "internal_error", "unsupported", "unavailable", "deadline_exceeded",
)  # fmt: skip
DROP_REASONS = ("expired", "cancelled", "worker_lost")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its cells are (models) x (label values) x (1, or buckets + overflow + sum)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    per_model: bool = True
    label: str = ""
    values: tuple[str, ...] = ("",)
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Cells of one series."""
        return len(self.buckets) + 2 if self.buckets else 1


METRICS: tuple[Metric, ...] = (
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
        "inferctl_dropped_total", "counter", "Rows dropped before running, by reason",
        label="reason", values=DROP_REASONS,
    ),
    Metric("inferctl_rows_total", "counter", "Rows run"),
    Metric("inferctl_tokens_total", "counter", "Tokens of the rows run; texts only"),
    Metric(
        "inferctl_padding_tokens_total", "counter",
        "Tokens run besides them to make the rows of a batch alike",
    ),
    Metric("inferctl_queue_rows", "gauge", "Rows waiting in the engine"),
    Metric("inferctl_in_flight", "gauge", "Slots in use"),
    Metric("inferctl_max_batch_rows", "gauge", "Largest batch the engine forms"),
    Metric("inferctl_row_seconds", "gauge", "Seconds per row at which the queue drains"),
    Metric(
        "inferctl_engine_ready", "gauge", "1 when every model is loaded and warm", per_model=False
    ),
    Metric(
        "inferctl_engine_on_cuda", "gauge", "1 when the engine's sessions run on CUDA",
        per_model=False,
    ),
    Metric(
        "inferctl_restarts_total", "counter", "Processes started again after they died",
        per_model=False, label="role", values=("engine", "worker"),
    ),
    Metric("inferctl_log_dropped_total", "counter", "Request log lines lost", per_model=False),
)  # fmt: skip

# Cells at the start of each block that are not metrics of their own.
PID, CPU_BASE_S = 0, 1
STATE_CELLS = 2
CELL_BYTES = 8


def _block_cells(models: int) -> int:
    return STATE_CELLS + sum(
        (models if metric.per_model else 1) * len(metric.values) * metric.width
        for metric in METRICS
    )


def ledger_bytes(models: int, processes: int) -> int:
    """Bytes of shared memory for the blocks of `processes` processes."""
    return _block_cells(models) * processes * CELL_BYTES


class Histogram:
    """One histogram series of the writing process."""

    def __init__(self, cells: memoryview[float], start: int, buckets: Sequence[float]) -> None:
        self._cells = cells
        self._start = start
        self._buckets = buckets
        self._sum = start + len(buckets) + 1

    def observe(self, value: float) -> None:
        """Count one value, in the metric's unit."""
        self._cells[self._start + bisect_left(self._buckets, value)] += 1
        self._cells[self._sum] += value


class Cell:
    """One counter or gauge series of the writing process."""

    def __init__(self, cells: memoryview[float], index: int) -> None:
        self._cells = cells
        self._index = index

    def add(self, amount: float = 1.0) -> None:
        """Raise a counter, or move a gauge."""
        self._cells[self._index] += amount

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._cells[self._index] = value

    def get(self) -> float:
        """The value of this process alone."""
        return self._cells[self._index]


class Block:
    """The numbers of one process."""

    def __init__(self, cells: memoryview[float], models: Sequence[str]) -> None:
        self._cells = cells
        self._models = models
        self._starts: dict[tuple[str, str, str], tuple[int, Metric]] = {}
        index = STATE_CELLS
        for metric in METRICS:
            for model in models if metric.per_model else ("",):
                for value in metric.values:
                    self._starts[metric.name, model, value] = (index, metric)
                    index += metric.width

    def cell(self, name: str, model: str = "", value: str = "") -> Cell:
        """A counter or gauge series."""
        return Cell(self._cells, self._starts[name, model, value][0])

    def histogram(self, name: str, model: str) -> Histogram:
        """A histogram series."""
        start, metric = self._starts[name, model, ""]
        return Histogram(self._cells, start, metric.buckets)

    def reset_gauges(self) -> None:
        """A new process starts with empty queues; its counters go on."""
        for start, metric in self._starts.values():
            if metric.kind == "gauge":
                self._cells[start] = 0.0

    def cells(self, name: str, model: str) -> list[float]:
        """A series' cells: one, or a histogram's buckets, its overflow and its sum."""
        start, metric = self._starts[name, model, ""]
        return list(self._cells[start : start + metric.width])

    def state(self, cell: int) -> Cell:
        """The PID or CPU_BASE_S cell."""
        return Cell(self._cells, cell)

    def series(self) -> Iterator[tuple[Metric, str, str, list[float]]]:
        """Every series of the block: metric, model, label value, cells."""
        for (_, model, value), (start, metric) in self._starts.items():
            yield metric, model, value, list(self._cells[start : start + metric.width])


class Ledger:
    """All blocks: index 0 is the supervisor's, 1 the engine's, 2 and up the workers'."""

    SUPERVISOR, ENGINE, FIRST_WORKER = 0, 1, 2

    def __init__(self, memory: mmap.mmap, models: Sequence[str], workers: int) -> None:
        cells = memoryview(memory).cast("d")
        width = _block_cells(len(models))
        self.models = tuple(models)
        self.blocks = [
            Block(cells[i * width : (i + 1) * width], models)
            for i in range(self.FIRST_WORKER + workers)
        ]

    @classmethod
    def role(cls, process: int) -> str:
        """The role of the process that writes a block."""
        return {cls.SUPERVISOR: "supervisor", cls.ENGINE: "engine"}.get(process, "worker")

    def total(self, name: str, model: str = "", value: str = "") -> float:
        """Sum of a counter or gauge over all processes."""
        return sum(block.cell(name, model, value).get() for block in self.blocks)

    def histogram(self, name: str, model: str) -> list[float]:
        """A histogram over all processes: its buckets, what is above them, and its sum."""
        return [
            sum(cells) for cells in zip(*(b.cells(name, model) for b in self.blocks), strict=True)
        ]
