"""The ledger: one block per process, none touching another, summed over all."""

from __future__ import annotations

import mmap

import pytest

from inferctl.arena.ledger import (
    BATCH_BUCKETS,
    CPU_BASE_S,
    DROP_REASONS,
    LATENCY_BUCKETS_S,
    METRICS,
    OUTCOMES,
    PID,
    Block,
    Ledger,
    ledger_bytes,
)
from inferctl.errors import InferctlError

MODELS = ("shapes", "words")
WORKERS = 3


def new_ledger() -> Ledger:
    processes = Ledger.FIRST_WORKER + WORKERS
    return Ledger(mmap.mmap(-1, ledger_bytes(len(MODELS), processes)), MODELS, WORKERS)


def cells_of(block: Block, name: str, model: str) -> list[float]:
    (cells,) = (
        cells for metric, of, _, cells in block.series() if (metric.name, of) == (name, model)
    )
    return cells


def test_there_is_a_block_per_process() -> None:
    assert len(new_ledger().blocks) == 2 + WORKERS
    roles = [Ledger.role(process) for process in range(2 + WORKERS)]
    assert roles == ["supervisor", "engine", "worker", "worker", "worker"]


def test_series_of_processes_models_and_labels_never_share_a_cell() -> None:
    ledger = new_ledger()
    written: list[float] = []
    for block in ledger.blocks:
        for state in (PID, CPU_BASE_S):
            written.append(len(written) + 1.0)
            block.state(state).set(written[-1])
        for metric, model, value, _ in block.series():
            written.append(len(written) + 1.0)
            if metric.kind == "histogram":
                histogram = block.histogram(metric.name, model)
                histogram.observe(written[-1])
            else:
                block.cell(metric.name, model, value).set(written[-1])
    read: list[float] = []
    for block in ledger.blocks:
        read += [block.state(PID).get(), block.state(CPU_BASE_S).get()]
        read += [cells[-1] for _, _, _, cells in block.series()]
    assert read == written


def test_the_blocks_fill_their_memory_exactly() -> None:
    processes = Ledger.FIRST_WORKER + WORKERS
    memory = mmap.mmap(-1, ledger_bytes(len(MODELS), processes))
    ledger = Ledger(memory, MODELS, WORKERS)
    width = len(memory) // processes
    for process, block in enumerate(ledger.blocks):
        *_, (metric, model, value, cells) = block.series()
        assert len(cells) == metric.width
        block.cell(metric.name, model, value).set(1)
        block.state(PID).set(1)
        assert memory[process * width : process * width + 8] != bytes(8)
        assert memory[(process + 1) * width - 8 * metric.width :][:8] != bytes(8)


def test_a_total_is_the_sum_over_processes() -> None:
    ledger = new_ledger()
    for amount, block in enumerate(ledger.blocks, start=1):
        block.cell("inference_requests_total", "words", "ok").add(amount)
    assert ledger.total("inference_requests_total", "words", "ok") == 1 + 2 + 3 + 4 + 5
    assert ledger.total("inference_requests_total", "words", "row_failed") == 0
    assert ledger.total("inference_requests_total", "shapes", "ok") == 0
    assert ledger.blocks[2].cell("inference_requests_total", "words", "ok").get() == 3


def test_a_metric_of_the_process_has_no_model() -> None:
    ledger = new_ledger()
    ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_restarts_total", value="engine").add()
    assert ledger.total("inferctl_restarts_total", value="engine") == 1
    assert ledger.total("inferctl_restarts_total", value="worker") == 0


@pytest.mark.parametrize(
    ("value", "place"),
    [(0.5, 0), (1, 0), (1.5, 1), (2, 1), (3, 2), (4, 2), (128, 7), (128.5, 8), (1e9, 8)],
)
def test_a_value_falls_into_the_first_bucket_that_is_not_smaller(value: float, place: int) -> None:
    """`le` means less or equal; the cell behind the buckets is +Inf, the last one the sum."""
    block = new_ledger().blocks[Ledger.ENGINE]
    block.histogram("inference_batch_size", "shapes").observe(value)
    expected = [0.0] * (len(BATCH_BUCKETS) + 2)
    expected[place], expected[-1] = 1, value
    assert cells_of(block, "inference_batch_size", "shapes") == expected


def test_a_histogram_keeps_its_sum() -> None:
    block = new_ledger().blocks[Ledger.ENGINE]
    histogram = block.histogram("inferctl_run_seconds", "words")
    for seconds in (0.25, 0.25, 2.0):
        histogram.observe(seconds)
    cells = cells_of(block, "inferctl_run_seconds", "words")
    assert cells[LATENCY_BUCKETS_S.index(0.25)] == 2
    assert cells[-2:] == [1, 2.5]
    assert not any(cells_of(block, "inferctl_run_seconds", "shapes"))


def test_a_new_process_resets_its_gauges_and_keeps_its_counters() -> None:
    block = new_ledger().blocks[Ledger.ENGINE]
    block.state(PID).set(42)
    for metric, model, value, _ in block.series():
        if metric.kind == "histogram":
            block.histogram(metric.name, model).observe(1)
        else:
            block.cell(metric.name, model, value).set(5)
    block.reset_gauges()
    assert block.state(PID).get() == 42
    for metric, _, _, cells in block.series():
        assert any(cells) == (metric.kind != "gauge"), metric.name


def test_a_reset_leaves_other_processes_alone() -> None:
    ledger = new_ledger()
    for block in ledger.blocks:
        block.cell("inferctl_in_flight", "shapes").set(2)
    ledger.blocks[3].reset_gauges()
    assert ledger.total("inferctl_in_flight", "shapes") == 8


def test_a_cell_counts_up_and_down() -> None:
    cell = new_ledger().blocks[0].cell("inferctl_in_flight", "shapes")
    cell.add()
    cell.add(2)
    cell.add(-1)
    assert cell.get() == 2


def test_names_and_buckets_are_in_order() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.help


def test_every_error_a_client_may_get_is_an_outcome() -> None:
    def codes(error: type[InferctlError]) -> set[str]:
        return {error.code}.union(*(codes(child) for child in error.__subclasses__()))

    (request_error,) = (e for e in InferctlError.__subclasses__() if e.__name__ == "RequestError")
    assert set(OUTCOMES) == codes(request_error) | {"ok", "internal_error"}
    assert len(set(DROP_REASONS)) == len(DROP_REASONS)


def test_a_histogram_is_summed_over_all_processes() -> None:
    ledger = new_ledger()
    for block, seconds in zip(ledger.blocks, (0.002, 0.2, 20), strict=False):
        block.histogram("inferctl_run_seconds", "shapes").observe(seconds)
    *counts, total_s = ledger.histogram("inferctl_run_seconds", "shapes")
    assert sum(counts) == 3
    assert counts[-1] == 1
    assert total_s == pytest.approx(20.202)
