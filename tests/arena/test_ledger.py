"""The ledger: one block per process, none touching another, summed over all."""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterable, Iterator, Mapping

import pytest

from inferctl.arena.exemplars import EXEMPLARS_BYTES
from inferctl.arena.ledger import CELL_BYTES, CPU_BASE_S, PID, Block, Ledger, ledger_bytes
from inferctl.arena.metric import (
    BATCH_BUCKETS,
    DROP_REASONS,
    OUTCOMES,
    WAIT_BUCKETS_S,
    Metric,
)
from inferctl.arena.metrics import METRICS, metric_of
from inferctl.arena.places import PLACES, Place
from inferctl.errors import InferctlError
from inferctl.keys import MAX_KEYS
from inferctl.refusals import RequestError

SHAPES, WORDS = 0, 1
MODELS = ("shapes", "words")
WORKERS = 3


def new_ledger() -> Ledger:
    processes = Ledger.FIRST_WORKER + WORKERS
    ledger = Ledger(mmap.mmap(-1, ledger_bytes(processes)), WORKERS)
    for place, model in enumerate(MODELS):
        ledger.give_place(place, model, 1)
    return ledger


def series(places: Iterable[int] = (SHAPES, WORDS)) -> Iterator[tuple[Metric, int, str]]:
    """Every series of a block: metric, place, label value."""
    for metric in METRICS:
        for place in places if metric.per_model else (0,):
            for value in metric.values:
                yield metric, place, value


def cells_of(block: Block, name: str, place: int) -> list[float]:
    return block.read(metric_of(name), place)


def write(block: Block, metric: Metric, place: int, label: str, value: float) -> None:
    if metric.kind == "histogram":
        block.histogram(metric.name, place).observe(value)
    else:
        block.cell(metric.name, place, label).set(value)


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
        for metric, place, label in series((SHAPES, WORDS, PLACES - 1)):
            written.append(len(written) + 1.0)
            write(block, metric, place, label, written[-1])
    read: list[float] = []
    for block in ledger.blocks:
        read += [block.state(PID).get(), block.state(CPU_BASE_S).get()]
        read += [block.read(*one)[-1] for one in series((SHAPES, WORDS, PLACES - 1))]
    assert read == written
    assert [owner.model for owner in ledger.places().values()] == [*MODELS], "nor with the places"


def test_the_blocks_fill_their_memory_exactly() -> None:
    processes = Ledger.FIRST_WORKER + WORKERS
    memory = mmap.mmap(-1, ledger_bytes(processes))
    ledger = Ledger(memory, WORKERS)
    names = ledger_bytes(0)
    width = (len(memory) - names) // processes - MAX_KEYS * CELL_BYTES - PLACES * EXEMPLARS_BYTES
    for process, block in enumerate(ledger.blocks):
        start = names + process * width
        *_, last = (one for one in series((PLACES - 1,)) if one[0].per_model)
        write(block, *last, 1)
        block.state(PID).set(1)
        assert memory[start : start + 8] != bytes(8)
        assert memory[start + width - 8 :][:8] != bytes(8)
    for process in range(processes):
        ledger.used_by_keys(process)[:] = array("d", [process + 1] * MAX_KEYS)
    keys = slice(names + processes * width, len(memory) - processes * PLACES * EXEMPLARS_BYTES)
    used = memoryview(memory)[keys].cast("d").tolist()
    assert used == [process + 1 for process in range(processes) for _ in range(MAX_KEYS)]
    ledger.exemplars(processes - 1, PLACES - 1).keep(1e6, 1.0, b"f" * 32)
    assert memory[-1] == 0xFF


def test_a_total_is_the_sum_over_processes() -> None:
    ledger = new_ledger()
    for amount, block in enumerate(ledger.blocks, start=1):
        block.cell("inference_requests_total", WORDS, "ok").add(amount)
    assert ledger.total("inference_requests_total", WORDS, "ok") == 1 + 2 + 3 + 4 + 5
    assert ledger.total("inference_requests_total", WORDS, "row_failed") == 0
    assert ledger.total("inference_requests_total", SHAPES, "ok") == 0
    assert ledger.blocks[2].cell("inference_requests_total", WORDS, "ok").get() == 3


def test_a_metric_of_the_process_has_no_model() -> None:
    ledger = new_ledger()
    ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_restarts_total", value="engine").add()
    assert ledger.total("inferctl_restarts_total", value="engine") == 1
    assert ledger.total("inferctl_restarts_total", value="worker") == 0


@pytest.mark.parametrize(
    ("value", "place"),
    [(0.5, 0), (1, 0), (1.5, 1), (2, 1), (3, 2), (4, 2), (256, 8), (256.5, 9), (1e9, 9)],
)
def test_a_value_falls_into_the_first_bucket_that_is_not_smaller(value: float, place: int) -> None:
    """`le` means less or equal; the cell behind the buckets is +Inf, the last one the sum."""
    block = new_ledger().blocks[Ledger.ENGINE]
    block.histogram("inference_batch_size", SHAPES).observe(value)
    expected = [0.0] * (len(BATCH_BUCKETS) + 2)
    expected[place], expected[-1] = 1, value
    assert cells_of(block, "inference_batch_size", SHAPES) == expected


def test_a_histogram_keeps_its_sum() -> None:
    block = new_ledger().blocks[Ledger.ENGINE]
    histogram = block.histogram("inferctl_run_seconds", WORDS)
    for seconds in (0.25, 0.25, 100.0):
        histogram.observe(seconds)
    cells = cells_of(block, "inferctl_run_seconds", WORDS)
    assert cells[WAIT_BUCKETS_S.index(0.25)] == 2
    assert cells[-2:] == [1, 100.5]
    assert not any(cells_of(block, "inferctl_run_seconds", SHAPES))


def test_a_new_process_resets_its_gauges_and_keeps_its_counters() -> None:
    block = new_ledger().blocks[Ledger.ENGINE]
    block.state(PID).set(42)
    for metric, place, label in series():
        write(block, metric, place, label, 5)
    block.reset_gauges((SHAPES, WORDS))
    assert block.state(PID).get() == 42
    for metric, place, label in series():
        assert any(block.read(metric, place, label)) == (metric.kind != "gauge"), metric.name


def test_a_reset_leaves_other_processes_alone() -> None:
    ledger = new_ledger()
    for block in ledger.blocks:
        block.cell("inferctl_in_flight", SHAPES).set(2)
    ledger.blocks[3].reset_gauges((SHAPES, WORDS))
    assert ledger.total("inferctl_in_flight", SHAPES) == 8


def test_a_cell_counts_up_and_down() -> None:
    cell = new_ledger().blocks[0].cell("inferctl_in_flight", SHAPES)
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

    assert set(OUTCOMES) == codes(RequestError) | {"ok", "internal_error"}
    assert len(set(DROP_REASONS)) == len(DROP_REASONS)


def test_a_place_that_is_given_to_another_model_starts_anew() -> None:
    ledger = new_ledger()
    for block in ledger.blocks:
        for metric, place, label in series():
            write(block, metric, place, label, 5)
        block.state(PID).set(42)
    ledger.give_place(SHAPES, "x" * 64, 2**40)
    assert ledger.places() == {SHAPES: Place("x" * 64, 2**40), WORDS: Place("words", 1)}
    for block in ledger.blocks:
        for metric, place, label in series():
            cleared = metric.per_model and place == SHAPES
            assert any(block.read(metric, place, label)) != cleared, metric.name
        assert block.state(PID).get() == 42


@pytest.mark.parametrize(("version", "counted"), [(1, 3), (2, 0)])
def test_a_place_that_is_given_to_its_own_version_again_counts_on(
    version: int, counted: int
) -> None:
    ledger = new_ledger()
    ledger.blocks[2].cell("inferctl_rows_total", WORDS).add(3)
    ledger.leave_place(WORDS)
    assert ledger.places()[WORDS] == Place("words", 1, is_taken=False)
    ledger.give_place(WORDS, "words", version)
    assert ledger.places()[WORDS] == Place("words", version)
    assert ledger.total("inferctl_rows_total", WORDS) == counted


def test_what_versions_left_is_added_up_without_their_gauges() -> None:
    ledger = new_ledger()
    ledger.give_place(2, "words", 2)
    for block in ledger.blocks:
        for metric, place, label in series((SHAPES, WORDS, 2)):
            write(block, metric, place, label, 5)
    ledger.add_up([WORDS, 2], at=7)
    assert ledger.places() == {SHAPES: Place("shapes", 1), 7: Place("words", 0, is_taken=False)}
    assert ledger.places()[7].label == "earlier"
    for metric, place, label in series((SHAPES, WORDS, 2, 7)):
        last = sum(block.read(metric, place, label)[-1] for block in ledger.blocks)
        if not metric.per_model or place == SHAPES:
            assert last == 5 * len(ledger.blocks), metric.name
        elif place == 7 and metric.kind != "gauge":
            assert last == 2 * 5 * len(ledger.blocks), metric.name
        else:
            assert last == 0, metric.name


def test_who_reads_while_places_change_reads_again() -> None:
    ledger = new_ledger()
    ledger.blocks[2].cell("inferctl_rows_total", WORDS).add(3)
    looks = []

    def read(places: Mapping[int, Place]) -> float:
        looks.append(places)
        if len(looks) == 1:
            ledger.add_up([WORDS], at=7)
        (place,) = (place for place, owner in places.items() if owner.model == "words")
        return ledger.total("inferctl_rows_total", place)

    assert ledger.of_one_moment(read) == 3
    assert [*map(list, looks)] == [[SHAPES, WORDS], [SHAPES, 7]]
