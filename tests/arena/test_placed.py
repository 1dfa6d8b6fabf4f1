"""Where versions run: whole, by place, and as much as there is room for."""

from __future__ import annotations

import pytest

from inferctl.arena.placed import (
    LEAST_CHARS,
    MAX_NODES,
    MAX_REASON_CHARS,
    PLACED_BYTES,
    Placed,
    PlacedVersions,
)
from inferctl.arena.places import PLACES
from inferctl.arena.sheet import HEAD

CPU = Placed("cpu", missing="libcuda.so.1 is not found", fix="install it")
CUDA = Placed(
    "cuda:1,3", ("GPU-1", "GPU-2"), nodes_on_cpu=("NonMaxSuppression /nms",), left_out=("cuda:2",)
)


@pytest.fixture
def memory() -> memoryview[int]:
    return memoryview(bytearray(PLACED_BYTES))


def test_what_is_written_is_read(memory: memoryview[int]) -> None:
    versions = PlacedVersions(memory)
    assert versions.read() == {}
    versions.write({0: CPU, 200: CUDA})
    assert PlacedVersions(memory).read() == {0: CPU, 200: CUDA}
    versions.write({})
    assert versions.read() == {}


def test_each_of_several_devices_has_a_name() -> None:
    assert CUDA.devices == ("cuda:1", "cuda:3")
    assert CPU.devices == ()


def test_what_is_half_written_is_not_told(memory: memoryview[int]) -> None:
    versions = PlacedVersions(memory)
    versions.write({0: CPU})
    memory[HEAD.size + 3] ^= 1
    assert versions.read() == {}


def test_of_many_nodes_the_first_are_named(memory: memoryview[int]) -> None:
    versions = PlacedVersions(memory)
    nodes = tuple(f"Cos {number:0200}" for number in range(MAX_NODES + 5))
    versions.write({0: CUDA._replace(nodes_on_cpu=nodes)})
    *named, rest = versions.read()[0].nodes_on_cpu
    assert len(named) == MAX_NODES
    assert all(nodes[number].startswith(node) for number, node in enumerate(named))
    assert rest == "and 5 more"


def test_every_place_has_room_if_not_for_its_nodes(memory: memoryview[int]) -> None:
    versions = PlacedVersions(memory)
    long = Placed(
        "cuda:7", ("G" * 40,), "m" * 300, "f" * 300, tuple(["n" * 100] * MAX_NODES), ("l" * 99,)
    )
    versions.write(dict.fromkeys(range(PLACES), long))
    assert versions.read() == dict.fromkeys(
        range(PLACES), long._replace(nodes_on_cpu=(), left_out=())
    )


def test_long_reasons_are_cut(memory: memoryview[int]) -> None:
    versions = PlacedVersions(memory)
    versions.write({0: CPU._replace(missing="a" * 10_000, fix="b" * 10_000)})
    found = versions.read()[0]
    assert (len(found.missing), len(found.fix)) == (MAX_REASON_CHARS, MAX_REASON_CHARS)


def test_every_place_has_room_whatever_its_reasons(memory: memoryview[int]) -> None:
    """Of letters that take six bytes each, on as many devices as a machine has."""
    versions = PlacedVersions(memory)
    uuids = tuple(f"GPU-{number:036}" for number in range(8))
    longest = Placed("cuda:0,1,2,3,4,5,6,7", uuids, "ü" * 999, "ü" * 999, CUDA.nodes_on_cpu * 99)
    versions.write(dict.fromkeys(range(PLACES), longest))
    found = versions.read()
    assert len(found) == PLACES
    assert found[0].missing == "ü" * LEAST_CHARS
