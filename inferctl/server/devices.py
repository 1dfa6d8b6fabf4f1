"""The GPUs, and which models are on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from inferctl.arena.board import Gpu
from inferctl.arena.placed import Placed
from inferctl.device import number_of


class DeviceHealth(BaseModel):
    """The accelerator and its memory; a figure that was not measured is null."""

    name: str
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    memory_limit_bytes: int | None
    utilization: float | None


class GpuHealth(BaseModel):
    """One of the machine's GPUs, whoever uses it. `number` and `uuid` are NVML's, `device` is what
    CUDA calls it where models of this service are on it, `models` are those; utilization is 0 to 1.
    """

    number: int
    uuid: str
    name: str
    device: str | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    utilization: float | None
    models: list[str]


def gpus_of(gpus: Sequence[Gpu], placed: Mapping[str, Placed]) -> list[GpuHealth]:
    """Each GPU that NVML tells of; `placed` are the models by name."""
    found = []
    for gpu in gpus:
        called = {name: called_by(one, gpu, gpus) for name, one in placed.items()}
        here = {name: device for name, device in called.items() if device}
        found.append(
            GpuHealth(
                number=gpu.number,
                uuid=gpu.uuid,
                name=gpu.name,
                device=next(iter(here.values()), None),
                memory_used_bytes=gpu.memory_used_bytes,
                memory_total_bytes=gpu.memory_total_bytes,
                utilization=gpu.utilization,
                models=sorted(here),
            )
        )
    return found


def device_health(
    gpus: Sequence[Gpu], placed: Sequence[Placed], limit_bytes: int
) -> DeviceHealth | None:
    """The first device that a model is on; None where they are on the CPU."""
    on = [(number_of(device), device, one) for one in placed for device in one.devices]
    if not on:
        return None
    _, device, first = min(on)
    gpu = next((gpu for gpu in gpus if called_by(first, gpu, gpus) == device), None)
    return DeviceHealth(
        name=gpu.name if gpu else device,
        memory_used_bytes=gpu and gpu.memory_used_bytes,
        memory_total_bytes=gpu and gpu.memory_total_bytes,
        memory_limit_bytes=limit_bytes or None,
        utilization=gpu and gpu.utilization,
    )


def called_by(placed: Placed, gpu: Gpu, gpus: Sequence[Gpu]) -> str | None:
    """What a version's CUDA calls a GPU, if it is on that one. Where the driver does not tell which
    one that is, a version on a single one is on the one that the engine is on, if there is one such
    alone, or on the only one there is."""
    if not placed.on_cuda:
        return None
    of = dict(zip(placed.uuids, placed.devices, strict=True))
    if gpu.uuid in of:
        return of[gpu.uuid]
    own = [one.uuid for one in gpus if one.is_own] or [one.uuid for one in gpus]
    return of[""] if placed.uuids == ("",) and own == [gpu.uuid] else None
