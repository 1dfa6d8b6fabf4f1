"""The arena's layout, and a worker's free slots."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from inferctl.arena.cells import Cell
from inferctl.arena.layout import ALIGNMENT, COLUMNS, arena_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.slots import Array, FreeSlots, ModelArena
from inferctl.bundles.manifest import Manifest
from tests.graphs import MAX_TOKENS, image_manifest, new_arena, text_manifest


def columns(arena: ModelArena) -> dict[str, Array]:
    """Every array of the arena, inputs and outputs under their own names."""
    named = {name: getattr(arena, name) for name, _ in COLUMNS}
    return named | arena.inputs | arena.outputs


@hypothesis_settings(deadline=None)
@given(slots=st.integers(1, 70), manifest=st.sampled_from([image_manifest(), text_manifest()]))
def test_columns_are_aligned_and_never_overlap(slots: int, manifest: Manifest) -> None:
    arena = new_arena(manifest, slots)
    arrays = columns(arena).values()
    starts = sorted((array.ctypes.data, array.nbytes) for array in arrays)
    base = starts[0][0]
    assert all((start - base) % ALIGNMENT == 0 for start, _ in starts)
    ends = [start + size for start, size in starts]
    assert all(end <= start for end, (start, _) in zip(ends, starts[1:], strict=False))
    assert ends[-1] - base <= arena_bytes(manifest, slots)


@pytest.mark.parametrize("manifest", [image_manifest(), text_manifest()])
def test_what_fills_one_column_leaves_the_others_alone(manifest: Manifest) -> None:
    arena = new_arena(manifest, 5)
    arrays = columns(arena)
    for number, array in enumerate(arrays.values(), start=1):
        array[:] = number
    for number, (name, array) in enumerate(arrays.items(), start=1):
        assert (array == number).all(), name


def test_a_slot_holds_a_row_at_its_longest() -> None:
    arena = new_arena(text_manifest(), 3)
    assert arena.inputs["input_ids"].shape == (3, MAX_TOKENS)
    assert arena.inputs["attention_mask"].dtype == np.int64
    assert arena.outputs["scores"].shape == (3, 2)
    assert new_arena(image_manifest(), 3).inputs["image"].shape == (3, 2, 2, 3)


def test_a_tensor_may_be_input_and_output_under_one_name() -> None:
    manifest = image_manifest(
        outputs=[{"name": "image", "dtype": "float32", "shape": ["rows", 12]}]
    )
    arena = new_arena(manifest, 2)
    arena.inputs["image"][:] = 1
    assert not arena.outputs["image"].any()


def test_two_processes_mappings_are_one_arena() -> None:
    manifest = text_manifest()
    fd = create_memory("arena", arena_bytes(manifest, 4))
    worker, engine = (ModelArena(manifest, 4, 2, map_memory(fd)) for _ in range(2))
    os.close(fd)
    worker.inputs["input_ids"][3] = 17
    worker.deadline_s[3] = 1.5
    engine.outputs["scores"][3] = 0.25
    assert (engine.inputs["input_ids"][3] == 17).all()
    assert not engine.inputs["input_ids"][:3].any()
    assert engine.deadline_s[3] == 1.5
    assert (worker.outputs["scores"][3] == 0.25).all()


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
def test_every_slot_has_one_owner(workers: int) -> None:
    arena = new_arena(image_manifest(), 6, workers)
    owned = [slot for worker in range(workers) for slot in arena.slots_of(worker)]
    assert owned == list(range(6))
    for worker in range(workers):
        assert all(arena.owner(slot) == worker for slot in arena.slots_of(worker))


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([6, 2, 7, 1, 5], {1: [6, 7, 5], 0: [2, 1]}),
        ([3, 4], {0: [3], 1: [4]}),
        ([11, 0, 8], {2: [11, 8], 0: [0]}),  # the owner in between has none
        ([5, 4, 7], {1: [5, 4, 7]}),
        ([9], {2: [9]}),
    ],
)
def test_slots_by_owner_keep_their_order(slots: list[int], expected: dict[int, list[int]]) -> None:
    assert new_arena(image_manifest(), slots=12, workers=3).by_owner(slots) == expected


def gauge() -> Cell:
    return Cell(memoryview(bytearray(8)).cast("d"), 0)


def test_the_last_slot_freed_is_the_next_one_used() -> None:
    free = FreeSlots(range(4, 8), gauge(), gauge())
    assert hold(free, 3) == [4, 5, 6]
    free.give_back(5)
    free.give_back(4)
    assert hold(free, 1) == [4]
    assert hold(free, 2) == [5, 7]


def hold(free: FreeSlots, rows: int) -> list[int]:
    free.reserve(rows)
    return free.take(rows)


def test_places_are_held_from_their_reservation_on() -> None:
    in_use = gauge()
    free = FreeSlots(range(3), in_use, gauge())
    free.reserve(2)
    assert (free.left, free.in_use, in_use.get()) == (1, 2, 2)
    (slot,) = free.take(1)
    assert (free.left, free.in_use, in_use.get()) == (1, 2, 2)
    free.give_back(slot)
    assert (free.left, free.in_use, in_use.get()) == (2, 1, 1)
    free.cancel(1)
    assert (free.left, free.in_use, in_use.get()) == (3, 0, 0)


def test_however_many_wait_few_slots_are_touched() -> None:
    free = FreeSlots(range(100), gauge(), gauge())
    free.reserve(100)
    for _ in range(100):
        (slot,) = free.take(1)
        assert slot == 0
        free.give_back(slot)
