"""GPUs, by a pynvml that is none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from inferctl.arena.board import BOARD_BYTES, Board, Gpu
from inferctl.engine import nvml as module
from inferctl.engine.nvml import Gpus, watch_gpus


class NVMLError(Exception):
    """Any error."""


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801 - NVML's name
    """It fell off the bus."""


@dataclass
class FakeNvml:
    """What NVML says of these GPUs; a call of which it is said that it fails does, with that error,
    and so does any of a GPU that is lost. `inits` are those that do anything: where it was begun
    more often than it was shut down, one more does not."""

    failing: dict[str, Exception] = field(default_factory=dict)
    pids: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ("GPU-1",)
    lost: str = ""
    begun: int = 0
    inits: int = 0

    NVMLError = NVMLError
    NVMLError_GpuIsLost = NVMLError_GpuIsLost
    NVML_TEMPERATURE_GPU = 0

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None, "nvmlShutdown": None, "nvmlDeviceGetCount": len(self.gpus),
            "nvmlDeviceGetName": "NVIDIA H100",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3, total=80),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=25, memory=0),
            "nvmlDeviceGetPowerUsage": 70_500, "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTotalEnergyConsumption": 1500, "nvmlDeviceGetTemperature": 40,
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in self.pids],
        }  # fmt: skip

        def call(*of: Any) -> Any:
            self.inits += name == "nvmlInit" and not self.begun
            if name in self.failing:
                raise self.failing[name]
            if self.lost and self.lost in of:
                raise NVMLError_GpuIsLost
            if name == "nvmlDeviceGetHandleByIndex":
                return self.gpus[of[0]]
            if name == "nvmlDeviceGetUUID":
                return of[0]
            self.begun += {"nvmlInit": 1, "nvmlShutdown": -1}.get(name, 0)
            return answers[name]

        return call


ALL = Gpu(0, "GPU-1", "NVIDIA H100", 3, 80, 0.25, 70.5, 700.0, 1.5, 40)


def test_every_figure_is_read() -> None:
    assert Gpus(FakeNvml()).read() == [ALL]


@pytest.mark.parametrize(("pid", "is_own"), [(os.getpid(), True), (os.getpid() + 1, False)])
def test_the_gpu_that_this_process_is_on_is_known(pid: int, is_own: bool) -> None:
    assert Gpus(FakeNvml(pids=(pid,))).read() == [ALL._replace(is_own=is_own)]


@pytest.mark.parametrize(
    ("call", "figure"),
    [
        ("MemoryInfo", {"memory_used_bytes": None, "memory_total_bytes": None}),
        ("UtilizationRates", {"utilization": None}), ("PowerUsage", {"power_w": None}),
        ("EnforcedPowerLimit", {"power_limit_w": None}),
        ("TotalEnergyConsumption", {"energy_j": None}), ("Temperature", {"temperature_c": None}),
        ("ComputeRunningProcesses", {}),
    ],
)  # fmt: skip
def test_what_a_device_does_not_tell_is_left_out(call: str, figure: dict[str, None]) -> None:
    nvml = FakeNvml({f"nvmlDeviceGet{call}": NVMLError("not supported")})
    assert Gpus(nvml).read() == [ALL._replace(**figure)]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("nvmlInit", NVMLError()), ("nvmlDeviceGetCount", NVMLError()),
        ("nvmlDeviceGetName", NVMLError()), ("nvmlDeviceGetMemoryInfo", NVMLError_GpuIsLost()),
        ("nvmlDeviceGetUUID", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")),
    ],
)  # fmt: skip
def test_where_nvml_does_not_answer_nothing_is_told_until_it_does(
    call: str, error: Exception
) -> None:
    nvml = FakeNvml({call: error})
    gpus = Gpus(nvml)
    assert gpus.read() == []
    nvml.failing.clear()
    assert gpus.read() == [ALL]
    assert gpus.read() == [ALL]
    assert nvml.inits == 2, "once more after an error"


def test_a_gpu_that_is_lost_hides_no_other() -> None:
    nvml = FakeNvml(gpus=("GPU-1", "GPU-2", "GPU-3"), lost="GPU-2")
    gpus = Gpus(nvml)
    assert [gpu.uuid for gpu in gpus.read()] == ["GPU-1", "GPU-3"]
    nvml.lost = ""
    assert [gpu.number for gpu in gpus.read()] == [0, 1, 2]
    assert nvml.inits == 1


def test_without_a_driver_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIBRARY", "libno-such-library.so.1")
    monkeypatch.setattr(module, "import_module", None)
    watch_gpus(Board(memoryview(bytearray(BOARD_BYTES))))
