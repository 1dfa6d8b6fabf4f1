"""The model: from slots, wherever they lie, through a real graph and back to the same slots."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from inferctl.arena.slots import ModelArena
from inferctl.engine import instances as instances_module
from inferctl.engine.model import Model
from inferctl.engine.placement import Placement
from inferctl.engine.session import DeviceLost, RunFailed, Session
from inferctl.engine.warmup import warm
from inferctl.errors import StartError
from inferctl.settings import BatchingSettings, RuntimeSettings
from tests.graphs import (
    MAX_TOKENS,
    PIXELS,
    POISON,
    image_graph,
    image_manifest,
    picky_graph,
)

from .loaded import SLOTS, UNTOUCHED, load_images, load_texts, record_sizes, short_graph


def touched(arena: ModelArena) -> list[int]:
    scores: npt.NDArray[np.float32] = arena.outputs["scores"]
    return [slot for slot in range(SLOTS) if (scores[slot] != UNTOUCHED).any()]


@pytest.mark.parametrize("slots", [[3], [2, 3, 4], [6, 1, 4], [1, 3, 5], [7, 6, 5], [5, 0]])
def test_every_row_gets_its_own_outputs_wherever_it_lies(slots: list[int], tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)
    model.run(arena, slots)
    for slot in slots:
        assert arena.outputs["scores"][slot].tolist() == list(
            range(slot * PIXELS, (slot + 1) * PIXELS)
        )
    assert touched(arena) == sorted(slots)


def test_a_run_stamps_its_rows_alone(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)
    model.run(arena, [6, 1])
    assert [slot for slot in range(SLOTS) if arena.started_s[slot]] == [1, 6]
    assert 0 < arena.started_s[6] <= arena.finished_s[6]
    assert arena.finished_s[1] == arena.finished_s[6]
    assert arena.batch_rows.tolist() == [2 if slot in (1, 6) else 0 for slot in range(SLOTS)]


@pytest.mark.parametrize(
    ("slots", "tokens"), [([2], 2), ([4, 1], 4), ([5], 5), ([1, 2, 7], 7), ([0], 1)]
)
def test_on_the_cpu_texts_are_padded_to_the_longest_of_their_batch(
    slots: list[int], tokens: int, tmp_path: Path
) -> None:
    model, arena = load_texts(tmp_path)
    assert model.run(arena, slots) == len(slots) * tokens
    assert arena.outputs["scores"][slots].tolist() == [[10 * n * n, tokens] for n in slots]
    assert touched(arena) == sorted(slots)


@pytest.mark.parametrize(
    ("slots", "rows", "tokens"),
    [([2], 1, 4), ([4, 1], 2, 4), ([5], 1, 8), ([1, 2, 7], 4, 8), ([0], 1, 4)],
)
def test_on_a_gpu_texts_are_padded_to_the_smallest_bucket_that_holds_all(
    slots: list[int], rows: int, tokens: int, tmp_path: Path
) -> None:
    model, arena = load_texts(tmp_path)
    model.on_cuda, model.warmed = True, [1, 2, 4]
    assert model.run(arena, slots) == rows * tokens
    assert arena.outputs["scores"][slots].tolist() == [[10 * n * n, tokens] for n in slots]
    assert touched(arena) == sorted(slots)


def test_tensors_without_a_tokens_axis_are_not_cut(tmp_path: Path) -> None:
    """The manifest decides: an axis of a fixed eight is not the tokens axis."""
    fixed = {"dtype": "int64", "shape": ["rows", MAX_TOKENS]}
    model, arena = load_texts(
        tmp_path, inputs=[{"name": "input_ids", **fixed}, {"name": "attention_mask", **fixed}]
    )
    model.run(arena, [2])
    assert arena.outputs["scores"][2].tolist() == [40, MAX_TOKENS]


def test_a_graph_that_fails_writes_nothing(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path, picky_graph())
    arena.inputs["image"][2, 0, 0, 0] = POISON
    with pytest.raises(RunFailed):
        model.run(arena, [1, 2, 3])
    assert touched(arena) == []
    assert (arena.finished_s[1:4] >= arena.started_s[1:4]).all()
    model.run(arena, [1, 3])
    assert touched(arena) == [1, 3]


def test_rows_with_which_a_device_was_lost_are_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the engine that comes next tries each of them alone."""
    model, arena = load_images(tmp_path)

    def lose(*_: object) -> None:
        raise DeviceLost("CUDA failure 719")

    monkeypatch.setattr(model.instances.session, "run", lose)
    with pytest.raises(DeviceLost):
        model.run(arena, [1, 2])
    assert np.flatnonzero(arena.started_s > arena.finished_s).tolist() == [1, 2]


@pytest.mark.row(89)
def test_a_graph_that_answers_too_few_rows_writes_nothing(tmp_path: Path) -> None:
    """Its last row is missing, and which row each answer is of nobody knows."""
    model, arena = load_images(tmp_path, short_graph())
    with pytest.raises(RunFailed, match=r"output scores has shape \(2, 12\)"):
        model.run(arena, [1, 2, 3])
    assert touched(arena) == []


@pytest.mark.row(89)
def test_a_graph_whose_numbers_are_others_than_promised_does_not_load(tmp_path: Path) -> None:
    whole = [{"name": "scores", "dtype": "int32", "shape": ["rows", PIXELS]}]
    with pytest.raises(StartError, match="scores is float32 in the graph, and int32"):
        load_images(tmp_path, outputs=whole)


@pytest.mark.row(89)
def test_an_output_of_another_shape_fails_and_writes_nothing(tmp_path: Path) -> None:
    wrong = [{"name": "scores", "dtype": "float32", "shape": ["rows", PIXELS + 1]}]
    model, arena = load_images(tmp_path, outputs=wrong)
    with pytest.raises(RunFailed, match=r"output scores has shape \(2, 12\)"):
        model.run(arena, [1, 2])
    assert touched(arena) == []


def test_no_output_is_written_when_a_later_one_is_wrong(tmp_path: Path) -> None:
    graph = image_graph()
    extra = graph.graph.output.add()
    extra.CopyFrom(graph.graph.output[0])
    extra.name = "flat"
    extra.type.tensor_type.elem_type = 2  # uint8
    outputs = [
        {"name": "scores", "dtype": "float32", "shape": ["rows", PIXELS]},
        {"name": "flat", "dtype": "uint8", "shape": ["rows", 5]},
    ]
    model, arena = load_images(tmp_path, graph, outputs=outputs)
    with pytest.raises(RunFailed, match="output flat"):
        model.run(arena, [1, 2])
    assert touched(arena) == []


def test_outputs_are_found_by_name_not_by_place(tmp_path: Path) -> None:
    """The manifest may list them in another order than the graph."""
    graph = image_graph()
    extra = graph.graph.output.add()
    extra.CopyFrom(graph.graph.output[0])
    extra.name = "flat"
    extra.type.tensor_type.elem_type = 2  # uint8
    outputs = [
        {"name": "flat", "dtype": "uint8", "shape": ["rows", PIXELS]},
        {"name": "scores", "dtype": "float32", "shape": ["rows", PIXELS]},
    ]
    model, arena = load_images(tmp_path, graph, outputs=outputs)
    model.run(arena, [3])
    assert arena.outputs["flat"][3].tolist() == arena.inputs["image"][3].ravel().tolist()
    assert arena.outputs["scores"][3].tolist() == arena.inputs["image"][3].ravel().tolist()


def test_on_a_gpu_batches_are_padded_to_the_warmed_sizes(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)
    model.on_cuda = True  # what a session on CUDA sets
    warm(model, BatchingSettings(max_batch_rows=6))
    sizes = record_sizes(model)
    for slots in ([1], [5, 2], [1, 2, 3], [7, 5, 3], list(range(5))):
        model.run(arena, slots)
        for slot in slots:
            assert arena.outputs["scores"][slot].tolist() == list(
                range(slot * PIXELS, (slot + 1) * PIXELS)
            )
    assert sizes == [1, 2, 4, 4, 6]
    assert 6 not in touched(arena)


def test_only_a_session_on_cuda_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class CudaSession:
        on_cuda = True
        placement = Placement("cuda:0", ())
        output_dtypes: ClassVar[dict[str, str]] = {}

        def __init__(self, *_: object, **__: object) -> None: ...

    model, _ = load_images(tmp_path)
    assert not model.on_cuda
    monkeypatch.setattr(instances_module, "Session", CudaSession)
    assert Model(tmp_path / "bundle", model.manifest, RuntimeSettings(), 1).on_cuda


@pytest.mark.parametrize(
    ("threads", "on_cuda", "clock"),
    [(1, False, time.thread_time), (2, False, time.monotonic), (1, True, time.monotonic)],
)
def test_a_run_of_one_thread_is_paid_in_its_cpu_time(
    threads: int, on_cuda: bool, clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AnySession:
        output_dtypes: ClassVar[dict[str, str]] = {}

        def __init__(self, *_: object, **__: object) -> None:
            self.on_cuda, self.placement = on_cuda, Placement("cuda:0", ())

    monkeypatch.setattr(instances_module, "Session", AnySession)
    assert Model(tmp_path, image_manifest(), RuntimeSettings(), threads).clock is clock


def test_a_run_on_another_session_is_a_run_of_that_session(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)
    other = Session(model.graph, RuntimeSettings(device="cpu"), threads=2)
    sizes = record_sizes(model)
    assert model.run(arena, [3, 5], model.instances.on(other)) == 2
    assert touched(arena) == [3, 5]
    assert sizes == []
