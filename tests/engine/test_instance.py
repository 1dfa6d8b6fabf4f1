"""A session for each shape: whose runs are whose, and what a full device says."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from inferctl.engine.instance import HostInstance, Rows, ShapedInstance
from inferctl.engine.model import Model
from inferctl.engine.placement import Placement
from inferctl.engine.session import SHRINK, OutOfMemory, RunFailed
from inferctl.errors import InsufficientMemory
from tests.graphs import POISON, picky_graph

from .cudas import host_cuda
from .loaded import hungry_graph, load_images


def shaped(model: Model) -> tuple[ShapedInstance, list[HostInstance]]:
    """An instance, and what it loads: the first one is there."""
    loaded: list[HostInstance] = []

    def load() -> HostInstance:
        loaded.append(model.instances.on(model.instances.session))
        return loaded[-1]

    return ShapedInstance(load(), load), loaded


def test_each_shape_is_loaded_once_and_runs_where_it_was(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)
    instance, loaded = shaped(model)
    for slots in ([1], [2, 3], [4], [6, 7]):
        model.run(arena, slots, instance)
        for slot in slots:
            assert (
                arena.outputs["scores"][slot].tolist()
                == arena.inputs["image"][slot].ravel().tolist()
            )
    assert len(loaded) == 2


def test_a_device_that_holds_no_more_sessions_has_no_memory_for_the_batch(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path)

    def load() -> HostInstance:
        raise InsufficientMemory("the graph does not fit")

    instance = ShapedInstance(model.instances.on(model.instances.session), load)
    model.run(arena, [1], instance)
    with pytest.raises(OutOfMemory, match="the graph does not fit"):
        model.run(arena, [1, 2], instance)
    model.run(arena, [3], instance)


def test_a_shape_that_does_not_fit_leaves_its_session_to_the_next(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path, hungry_graph(1))
    instance, loaded = shaped(model)
    model.run(arena, [1], instance)
    for slots in ([1, 2], [3, 4, 5]):
        with pytest.raises(OutOfMemory):
            model.run(arena, slots, instance)
    assert len(loaded) == 2


def test_a_shape_whose_first_run_failed_leaves_its_session_to_the_next(tmp_path: Path) -> None:
    model, arena = load_images(tmp_path, picky_graph())
    arena.inputs["image"][2, 0, 0, 0] = POISON
    instance, loaded = shaped(model)
    with pytest.raises(RunFailed):
        model.run(arena, [2], instance)
    for slots in ([1], [3]):
        model.run(arena, slots, instance)
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("slots", "index"),
    [([3], slice(3, 4)), ([2, 3, 4], slice(2, 5)), ([4, 2], None), ([1, 3], None)],
)
def test_neighbours_are_a_slice(slots: list[int], index: slice | None) -> None:
    rows = Rows.of(slots)
    assert rows.count == len(slots)
    if index is None:
        assert list(rows.index) == slots  # type: ignore[arg-type]
    else:
        assert rows.index == index


@pytest.mark.parametrize(("has_graphs", "shrunk"), [(False, [(1, "gpu:1")]), (True, [])])
def test_after_a_batch_that_was_too_large_a_small_one_shrinks_the_arena(
    has_graphs: bool, shrunk: list[tuple[int, str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not where graphs may use what seems to be unused."""
    model, arena = load_images(tmp_path, hungry_graph(memory_rows=2))
    session = model.instances.session
    session.on_cuda, session.placement = True, Placement("cuda:1", ())
    session.stream = host_cuda()[0].stream() if has_graphs else None
    found: list[tuple[int, str]] = []
    run = session._session.run

    def recording(outputs: Any, inputs: Any, options: Any) -> Any:
        with contextlib.suppress(RuntimeError):  # it has no such entry
            found.append((len(inputs["image"]), options.get_run_config_entry(SHRINK)))
        return run(outputs, inputs, options)

    monkeypatch.setattr(session._session, "run", recording)
    with pytest.raises(OutOfMemory):
        model.run(arena, [1, 2, 3])
    model.run(arena, [4, 5])
    assert found == shrunk
