"""Batches through device buffers, on a CPU that stands in for the device."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from inferctl.arena.slots import ModelArena
from inferctl.engine.crew import Crew
from inferctl.engine.device_instance import DeviceInstance
from inferctl.engine.model import Model
from inferctl.engine.placement import CudaUse
from inferctl.engine.session import RunFailed, Session
from inferctl.engine.warmup import reinforce, warm_up
from inferctl.settings import BatchingSettings, RuntimeSettings
from tests.graphs import PIXELS, image_graph

from .cudas import Error, HostCuda, Runtime, host_cuda
from .loaded import SLOTS, UNTOUCHED, faint_graph, load_images, load_texts

TO_DEVICE, TO_HOST = 1, 2


def on_device(model: Model, cuda: HostCuda) -> DeviceInstance:
    """An instance of this thread, of a model that pads as on a GPU."""
    model.on_cuda = True
    session = model.instances.session
    host = model.instances.on(session)
    instance = DeviceInstance(cuda, session, cuda.stream(), model.manifest, host)
    instance.enter()
    return instance


def scores(arena: ModelArena) -> dict[int, list[float]]:
    """Of the slots that were run."""
    found = arena.outputs["scores"]
    return {slot: found[slot].tolist() for slot in range(SLOTS) if found[slot][0] != UNTOUCHED}


@pytest.fixture
def device() -> tuple[HostCuda, Runtime]:
    return host_cuda()


@pytest.mark.parametrize("slots", [[3], [2, 3, 4, 5], [6, 1, 4], [7, 5, 3, 2, 0]])
def test_each_row_gets_its_own_answer(
    slots: list[int], tmp_path: Path, device: tuple[HostCuda, Runtime]
) -> None:
    model, arena = load_images(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [1, 4, 8]
    model.run(arena, slots, instance)
    expected = {slot: list(range(slot * PIXELS, (slot + 1) * PIXELS)) for slot in slots}
    assert scores(arena) == dict(sorted(expected.items()))


def test_texts_are_padded_to_a_bucket(tmp_path: Path, device: tuple[HostCuda, Runtime]) -> None:
    model, arena = load_texts(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [2, 4]
    slots = [3, 1, 2]
    model.run(arena, slots, instance)
    found = scores(arena)
    arena.outputs["scores"][:] = UNTOUCHED
    model.run(arena, slots)
    assert found == scores(arena)


def test_only_the_rows_that_there_are_travel(
    tmp_path: Path, device: tuple[HostCuda, Runtime]
) -> None:
    model, arena = load_images(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [8]
    model.run(arena, [0], instance)  # which makes the shape
    device[1].copied.clear()
    model.run(arena, [3, 5], instance)
    assert device[1].copied == [(2 * PIXELS, TO_DEVICE), (2 * PIXELS * 4, TO_HOST)]


def test_a_shape_is_made_once_and_its_memory_kept(
    tmp_path: Path, device: tuple[HostCuda, Runtime]
) -> None:
    model, arena = load_images(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [4, 8]
    model.run(arena, [0], instance)
    left = device[1].left
    model.run(arena, [1, 2], instance)
    assert device[1].left == left
    model.run(arena, list(range(5)), instance)
    assert device[1].left < left
    del instance
    assert device[1].left == 2**30


def test_another_thread_runs_without_a_graph(
    tmp_path: Path, device: tuple[HostCuda, Runtime]
) -> None:
    model, arena = load_images(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [1]
    running = threading.Thread(target=model.run, args=(arena, [3], instance))
    running.start()
    running.join()
    assert list(scores(arena)) == [3]
    assert device[1].copied == []


@pytest.mark.parametrize(("graph", "scale"), [(image_graph, 1.0), (faint_graph, 1e-5)])
def test_a_graph_that_answers_otherwise_is_not_used(
    graph: Callable[[], ModelProto], scale: float, tmp_path: Path,
    device: tuple[HostCuda, Runtime], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model, arena = load_images(tmp_path, graph())
    instance = on_device(model, device[0])
    model.warmed = [2]
    monkeypatch.setattr(model.instances.session, "run_bound", lambda *_: None)
    model.run(arena, [3], instance)
    expected = scale * np.arange(3 * PIXELS, 4 * PIXELS)
    assert scores(arena)[3] == pytest.approx(expected.tolist())
    said = capsys.readouterr().err
    assert said == (
        "inferctl: pixels: a CUDA graph of 2 rows answers otherwise than a run without it; "
        "none are used\n"
    )
    device[1].copied.clear()
    model.run(arena, [4], instance)
    assert (device[1].copied, capsys.readouterr().err) == ([], "")


def test_a_run_that_fails_says_so(
    tmp_path: Path, device: tuple[HostCuda, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, arena = load_images(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [1]
    model.run(arena, [0], instance)

    def fails(*_: object) -> None:
        raise RunFailed("no")

    monkeypatch.setattr(model.instances.session, "run_bound", fails)
    with pytest.raises(RunFailed, match="no"):
        model.run(arena, [1], instance)
    assert list(scores(arena)) == [0]


def test_warming_up_makes_every_shape_of_every_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_texts(tmp_path)
    first, second = (on_device(model, host_cuda()[0]) for _ in range(2))
    monkeypatch.setattr(model.instances.each[0], "first", first)
    monkeypatch.setattr(model.instances.each[0], "another", lambda: second)
    crew = Crew("texts", [first])
    warm_up(model, BatchingSettings(max_batch_rows=4), 0, crew)
    reinforce(model, crew, 2)
    crew.end()
    shapes = [{(s.rows, s.tokens) for s in one._captured} for one in (first, second)]
    tokens = model.manifest.buckets.tokens
    assert shapes[0] == shapes[1] == {(rows, length) for rows in (1, 2, 4) for length in tokens}


def test_nothing_is_freed_before_what_works_with_it(
    tmp_path: Path, device: tuple[HostCuda, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers after their runs, though one has failed; and the stream of the runs last."""
    cuda, runtime = device
    model, arena = load_images(tmp_path)
    runs = cuda.stream()
    session = Session(model.graph, RuntimeSettings(device="cpu"), 1, use=CudaUse(runs))
    host = model.instances.on(session)
    instance = DeviceInstance(cuda, session, runs, model.manifest, host)
    instance.enter()
    model.on_cuda, model.warmed = True, [8]
    model.run(arena, [0], instance)
    runtime.fails = Error.cudaErrorLaunchFailure
    with pytest.raises(RunFailed):
        model.run(arena, [1], instance)
    runtime.fails = Error.cudaSuccess
    weakref.finalize(session._session, runtime.ended.append, "session")
    runtime.ended.clear()
    of_runs = runs.address
    del runs, instance, host, session
    *first, last = runtime.ended
    assert first[:2] == ["waited for 2", f"waited for {of_runs}"]
    assert first[2:6] == ["freed"] * 4, "both sides of its input and of its output"
    assert "session" in first
    assert last == f"destroyed {of_runs}"
    assert (runtime.allocated, runtime.handles) == ({}, set())


def test_what_fills_a_shape_is_what_its_model_takes(
    tmp_path: Path, device: tuple[HostCuda, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of a vocabulary of two, no row all padding, and rows that differ."""
    model, arena = load_texts(tmp_path)
    instance = on_device(model, device[0])
    model.warmed = [8]
    seen: dict[str, Any] = {}
    run = model.instances.session.run

    def looking(inputs: Any, *rest: Any) -> Any:
        seen.update({name: array.copy() for name, array in inputs.items()})
        return run(inputs, *rest)

    monkeypatch.setattr(model.instances.session, "run", looking)
    model.run(arena, [1], instance)
    assert seen["attention_mask"].all()
    assert set(np.unique(seen["input_ids"])) <= {0, 1}
