"""GPUs, and which models are on them."""

from __future__ import annotations

import pytest

from inferctl.arena.board import Gpu
from inferctl.arena.placed import Placed
from inferctl.server.devices import GpuHealth, device_health, gpus_of

FIRST = Gpu(0, "GPU-1", "NVIDIA H100", memory_used_bytes=3, memory_total_bytes=80, utilization=0.5)
SECOND = Gpu(1, "GPU-2", "another", memory_used_bytes=4)
OWN = FIRST._replace(is_own=True)
CPU, CUDA = Placed("cpu"), Placed("cuda:0")


@pytest.mark.parametrize(
    ("placed", "gpus", "found"),
    [
        (CUDA, [], None),
        (CUDA, [FIRST], FIRST),
        (CUDA, [SECOND, OWN], OWN),
        (CUDA, [FIRST, SECOND], None),
        (Placed("cuda:0", ("GPU-2",)), [OWN, SECOND], SECOND),
        (Placed("cuda:0", ("GPU-3",)), [FIRST], None),
    ],
    ids=["none", "the only one", "the engine's", "any of two", "by its identity", "another one"],
)
def test_the_device_is_the_one_that_models_are_on(
    placed: Placed, gpus: list[Gpu], found: Gpu | None
) -> None:
    device = device_health(gpus, [CPU, placed], 0)
    assert device is not None
    assert device.name == (found.name if found else "cuda:0")
    assert device.memory_used_bytes == (found and found.memory_used_bytes)
    assert device.utilization == (found and found.utilization)


def test_models_on_the_cpu_are_on_no_device() -> None:
    assert device_health([OWN], [CPU], 0) is None
    assert device_health([OWN], [], 0) is None


def test_every_gpu_is_told_with_the_models_on_it() -> None:
    """CUDA's numbers may be others than NVML's."""
    placed = {"b": Placed("cuda:1", ("GPU-1",)), "c": CPU, "a": Placed("cuda:1", ("GPU-1",))}
    first, second = gpus_of([FIRST, SECOND], placed)
    assert first == GpuHealth(
        number=0, uuid="GPU-1", name="NVIDIA H100", device="cuda:1", memory_used_bytes=3,
        memory_total_bytes=80, utilization=0.5, models=["a", "b"],
    )  # fmt: skip
    assert (second.device, second.models, second.memory_total_bytes) == (None, [], None)


def test_a_model_on_several_gpus_is_told_with_each() -> None:
    placed = {"both": Placed("cuda:1,0", ("GPU-1", "GPU-2")), "one": Placed("cuda:0", ("GPU-2",))}
    first, second = gpus_of([FIRST, SECOND], placed)
    assert (first.device, first.models) == ("cuda:1", ["both"])
    assert (second.device, second.models) == ("cuda:0", ["both", "one"])
    device = device_health([FIRST, SECOND], [placed["both"]], 0)
    assert device is not None
    assert device.name == "another", "the first that models are on, as CUDA numbers them"


def test_of_several_gpus_without_an_identity_nothing_is_guessed() -> None:
    placed = {"both": Placed("cuda:0,1", ("", ""))}
    assert [gpu.models for gpu in gpus_of([OWN, SECOND], placed)] == [[], []]
