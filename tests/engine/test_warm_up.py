"""Warm-up: which shapes are run before the first request, and how large a batch comes out."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto, helper

from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.engine.crew import Crew
from inferctl.engine.instance import Instance
from inferctl.engine.model import Model
from inferctl.engine.rehearsal import rehearse, scratch
from inferctl.engine.session import DeviceLost, Ended, NoKernel, OutOfMemory, RunFailed
from inferctl.engine.warmup import reinforce, warm
from inferctl.engine.watchdog import Stint, Watchdog
from inferctl.errors import InsufficientMemory, StartError
from inferctl.settings import BatchingSettings, RuntimeSettings
from tests.faults.kit import ENDLESS, fields_of, loop
from tests.graphs import MAX_TOKENS, image_fields, image_graph, write_bundle

from .loaded import SLOTS, Clock, load, load_images, load_texts, record_sizes


@pytest.mark.parametrize(
    ("seconds", "largest", "tried"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0}, 4, [1, 2, 4]),
        ({1: 1.0, 2: 1.2, 4: 2.4}, 2, [1, 2, 4]),
        ({1: 1.0, 2: 2.0}, 1, [1, 2]),
        # What a batch costs besides its run makes batches of a tiny model worth it.
        ({1: 1e-6, 2: 2e-6, 4: 4e-6}, 4, [1, 2, 4]),
    ],
)
def test_auto_tries_sizes_upwards_until_the_cost_stops_falling(
    seconds: dict[int, float],
    largest: int,
    tried: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, _ = load_images(tmp_path)
    clock = Clock(model, seconds.__getitem__)
    found = warm(model, BatchingSettings())
    assert found.max_batch_rows == largest
    assert found.curve.seconds(largest) == pytest.approx(seconds[largest])
    assert found.sizes == (1, 2, 4)
    assert sorted(set(clock.sizes)) == tried


@pytest.mark.parametrize(
    ("wanted", "tried"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6])]
)
def test_a_number_is_obeyed_and_everything_below_it_warmed(
    wanted: int, tried: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_images(tmp_path)
    clock = Clock(model, lambda rows: rows * 2.0)
    found = warm(model, BatchingSettings(max_batch_rows=wanted))
    assert found.max_batch_rows == wanted
    assert found.curve.seconds(wanted) == pytest.approx(wanted * 2.0)
    assert found.sizes == ()  # nothing to choose
    assert sorted(set(clock.sizes)) == tried


def test_what_a_predecessor_found_is_not_measured_again_but_may_change(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    clock = Clock(model, lambda rows: rows * 2.0)
    found = warm(model, BatchingSettings(), known_rows=2)
    assert found.max_batch_rows == 2
    assert found.sizes == (1, 2, 4)
    assert clock.sizes == [1, 1, 2, 2]


def test_a_number_goes_before_what_a_predecessor_found(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    assert warm(model, BatchingSettings(max_batch_rows=2), known_rows=4).max_batch_rows == 2


def test_the_first_run_of_a_shape_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It allocates."""
    model, _ = load_images(tmp_path)
    took_s: Iterator[float] = iter([0.5, 3.0])
    Clock(model, lambda rows: next(took_s))
    found = warm(model, BatchingSettings(max_batch_rows=1))
    assert found.curve.seconds(1) == pytest.approx(3.0)


def test_a_disturbed_measurement_is_made_good_by_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are flat at a millisecond per row, so dispatching makes 4 rows the best."""
    model, _ = load_images(tmp_path)
    runs: Counter[int] = Counter()

    def seconds(rows: int) -> float:
        runs[rows] += 1
        return 0.001 * rows * (5 if rows == 4 and runs[4] <= 2 else 1)

    Clock(model, seconds)
    found = warm(model, BatchingSettings())
    assert found.max_batch_rows == 4
    assert found.curve.seconds(4) == pytest.approx(0.004)


def test_warming_takes_real_time(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    found = warm(model, BatchingSettings(max_batch_rows=2))
    assert 0 < found.curve.seconds(1) <= found.curve.seconds(2) < 10


@pytest.mark.parametrize(
    ("on_cuda", "expected"),
    [
        (True, {(1, 4), (1, 8), (2, 4), (2, 8)}),
        # A shape needs no warming there: the usual length, and the longest row once.
        (False, {(1, 4), (2, 4), (1, 8)}),
    ],
)
def test_every_length_is_warmed_with_every_size_on_a_gpu_alone(
    on_cuda: bool, expected: set[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_texts(tmp_path)
    model.on_cuda = on_cuda
    shapes: set[tuple[int, ...]] = set()
    run = model.instances.session.run

    def recording(inputs: Any, outputs: Any = None, options: Any = None) -> Any:
        shapes.add(inputs["input_ids"].shape)
        assert inputs["attention_mask"].all()
        return run(inputs, outputs, options)

    monkeypatch.setattr(model.instances.session, "run", recording)
    warm(model, BatchingSettings(max_batch_rows=2))
    assert shapes == expected


def test_texts_are_taken_to_be_of_a_middle_length_until_there_are_some(tmp_path: Path) -> None:
    model, _ = load_texts(tmp_path, buckets={"rows": [1, 2], "tokens": [2, 4, MAX_TOKENS]})
    assert warm(model, BatchingSettings()).tokens == 4
    images, _ = load_images(tmp_path / "images")
    assert warm(images, BatchingSettings()).tokens == 1


def test_a_device_that_is_lost_meanwhile_is_no_fault_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_images(tmp_path)

    def lose(*_: object) -> None:
        raise DeviceLost("CUDA failure 719")

    monkeypatch.setattr(model.instances.session, "run", lose)
    with pytest.raises(DeviceLost):
        warm(model, BatchingSettings())


def test_sizes_that_do_not_fit_into_the_memory_are_not_chosen(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    record_sizes(model, lambda rows: refuse(rows > 2))
    found = warm(model, BatchingSettings())
    assert found.fits == 2
    assert found.max_batch_rows <= 2
    assert model.warmed == [1, 2]
    assert warm(model, BatchingSettings(max_batch_rows=4)).fits == 2


def test_a_model_whose_single_row_does_not_fit_cannot_start(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    record_sizes(model, lambda rows: refuse(True))
    with pytest.raises(StartError, match="insufficient memory: pixels fails at 1 rows"):
        warm(model, BatchingSettings())


@pytest.mark.parametrize(("without", "warmed"), [({2}, [1, 4]), ({1}, [2, 4]), ({4}, [1, 2])])
def test_a_size_without_a_plan_is_left_out_and_the_others_are_not(
    without: set[int], warmed: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, arena = load_images(tmp_path)
    model.on_cuda = True
    sizes = record_sizes(model, lambda rows: lack(rows in without))
    found = warm(model, BatchingSettings(max_batch_rows=4))
    assert model.warmed == list(found.padded) == warmed
    assert found.max_batch_rows == warmed[-1]
    assert found.fits == 0
    assert capsys.readouterr().err == (
        f"inferctl: pixels: batches have other sizes than {min(without)} rows, for which cuDNN has "
        "no plan: no plan\n"
    )
    sizes.clear()
    model.run(arena, [3, 5])
    assert sizes == [next(rows for rows in warmed if rows >= 2)]


def test_a_model_without_a_plan_for_any_size_cannot_start(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path)
    record_sizes(model, lambda rows: lack(True))
    with pytest.raises(
        StartError, match=r"pixels has no plan for 4 rows .*: no plan; serve it in fp16"
    ):
        warm(model, BatchingSettings())


def lack(is_without: bool) -> None:
    if is_without:
        raise NoKernel("no plan")


def refuse(too_large: bool) -> None:
    if too_large:
        raise OutOfMemory("out of memory")


@pytest.mark.parametrize("fails_at", ["load", "rehearsal"])
def test_so_many_instances_as_the_device_holds_and_none_of_the_others(
    fails_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, _ = load_images(tmp_path)
    model.warmed = [1]

    class Large:
        """One that fits until it is run."""

        def enter(self) -> None:
            """As an instance."""

        def run(self, *_: Any) -> list[Any]:
            raise OutOfMemory("too large")

    def another() -> Instance:
        if fails_at == "load":
            raise InsufficientMemory("too large")
        return Large()

    monkeypatch.setattr(model.instances.each[0], "another", another)
    crew = Crew("some", [model.instances.first])
    reinforce(model, crew, 2)
    assert len(crew.members) == 1
    assert capsys.readouterr().err.startswith(
        "inferctl: pixels: the device has 1 of 2 instances: insufficient memory: "
    )
    crew.end()


def test_a_device_that_is_lost_with_its_second_instance_ends_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's is lost too."""
    model, _ = load_images(tmp_path)
    model.warmed = [1]
    model.instances.spared = (StartError, RunFailed)

    def another() -> Instance:
        raise DeviceLost("it fell off the bus")

    monkeypatch.setattr(model.instances.each[0], "another", another)
    crew = Crew("some", [model.instances.first])
    with pytest.raises(DeviceLost, match="it fell off the bus"):
        reinforce(model, crew, 2)
    crew.end()


def test_warming_leaves_the_service_arena_alone(tmp_path: Path) -> None:
    """After a restart of the engine its slots hold requests that wait."""
    model, arena = load_texts(tmp_path)
    memory = arena.tokens.base
    before = bytes(memory)  # type: ignore[arg-type]
    warm(model, BatchingSettings())
    assert bytes(memory) == before  # type: ignore[arg-type]
    assert len(before) > SLOTS * MAX_TOKENS


def test_a_graph_that_fails_in_warm_up_cannot_start(tmp_path: Path) -> None:
    wrong = [{"name": "scores", "dtype": "float32", "shape": ["rows", 1]}]
    model, _ = load_images(tmp_path, outputs=wrong)
    with pytest.raises(StartError, match="pixels fails at 1 rows during warm-up: output scores"):
        warm(model, BatchingSettings())


def not_a_number() -> ModelProto:
    """`image_graph`, of which zeros are divided by themselves."""
    graph = image_graph()
    graph.graph.node[-1].output[0] = "values"
    graph.graph.node.append(helper.make_node("Div", ["values", "values"], ["scores"]))
    return graph


def test_a_classifier_that_answers_no_number_is_refused(tmp_path: Path) -> None:
    model, _ = load_images(tmp_path, not_a_number())
    with pytest.raises(StartError, match="pixels answers NaN or infinity during warm-up"):
        warm(model, BatchingSettings())


def test_of_a_graph_of_unknown_meaning_any_number_is_an_answer(tmp_path: Path) -> None:
    fields = image_fields(task="tensor", labels=[])
    del fields["image"]
    model, _ = load(tmp_path, not_a_number(), fields)
    assert warm(model, BatchingSettings()).max_batch_rows


@pytest.mark.row(87)
def test_a_model_whose_first_run_does_not_end_is_not_served(tmp_path: Path) -> None:
    """It would hold up all that are loaded after it."""
    manifest = write_bundle(tmp_path / "bundle", loop(), fields_of("loop"))
    block = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks[Ledger.ENGINE]
    watchdog, rehearsal = Watchdog(block), Stint(lambda rows, patience: 0.1)
    watchdog.watch(rehearsal)
    watchdog.start()
    runtime = RuntimeSettings(device="cpu")
    model = Model(tmp_path / "bundle", manifest, runtime, 1, rehearsal)
    arena = scratch(model, 1, 1)
    arena.inputs["x"][:] = ENDLESS
    with pytest.raises(Ended):
        rehearse(model, arena)
    arena.inputs["x"][:] = 3
    rehearse(model, arena)
    assert arena.outputs["y"].tolist() == [[3]]
