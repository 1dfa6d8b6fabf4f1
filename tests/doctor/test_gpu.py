"""NVIDIA's part: each thing that can be missing is named, with the package that has it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from inferctl.cuda.driver import Driver
from inferctl.doctor.findings import Finding
from inferctl.doctor.gpu import Machine, gpu_findings, look
from inferctl.doctor.probing import CPU, CUDA, Probed

MIB = 1024 * 1024
BARE = Machine((), "")
CARD = Machine(("0000:01:00.0",), "580.65.06")
NO_DRIVER = Driver(error="libcuda.so.1: cannot open shared object file")
WELL = Probed(
    version="1.31.1", cuda="13.0", providers=(CUDA, CPU), opset=27, missing=(),
    driver=Driver(cuda="13.0", devices=1), session="",
)  # fmt: skip
WITHOUT = Probed(
    version="1.31.1", cuda="13.0", providers=(CUDA, CPU), opset=27,
    missing=("libcublas.so.13", "libcudnn.so.9"), driver=NO_DRIVER,
)  # fmt: skip


def nvml(problem: int = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, cards: int = 0) -> Any:
    """The library, with so many cards or that problem."""

    def begin() -> None:
        if not cards:
            raise pynvml.NVMLError(problem)

    return SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=begin,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "580.65.06",
        nvmlDeviceGetCount=lambda: cards,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: f"NVIDIA H100 number {index}",
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(total=81_559 * MIB, used=437 * MIB),
    )


def found(
    device: str, probed: Probed, machine: Machine = BARE, library: Any = None
) -> dict[str, Finding]:
    return {one.name: one for one in gpu_findings(device, probed, machine, library or nvml())}


def statuses(lines: dict[str, Finding]) -> dict[str, str]:
    return {name: one.status for name, one in lines.items()}


def test_without_a_gpu_it_is_said_plainly_and_serves_on_the_cpu() -> None:
    lines = found("auto", WITHOUT)
    assert statuses(lines) == {
        "card": "warn", "driver": "ok", "libraries": "ok", "provider": "ok",
    }  # fmt: skip
    assert lines["card"].finding == "no NVIDIA GPU: the models run on the CPU"
    assert "pip install 'inferctl[cuda]'" in lines["card"].fix
    assert "apt install nvidia-driver" in lines["card"].fix
    assert lines["provider"].finding.startswith("CPUExecutionProvider is used")
    assert "libcudnn.so.9" in lines["libraries"].finding


def test_where_the_cpu_is_meant_nothing_is_amiss() -> None:
    assert set(statuses(found("cpu", WITHOUT)).values()) == {"ok"}


def test_where_cuda_is_asked_for_all_that_lacks_fails() -> None:
    lines = found("cuda", WITHOUT)
    assert set(statuses(lines).values()) == {"fail"}
    assert all(one.fix for one in lines.values())


@pytest.mark.parametrize(
    ("device", "status"),
    [("cuda:1", "fail"), ("cuda:1,0", "fail"), ("cuda:0", "ok"), ("cuda:all", "ok")],
)
def test_a_device_beyond_those_that_are_there_fails(device: str, status: str) -> None:
    driver = found(device, WELL, CARD, nvml(cards=1))["driver"]
    assert driver.status == status
    assert ("there is no device 1: the driver shows 1" in driver.finding) == (status == "fail")


def test_a_machine_with_everything_is_well() -> None:
    lines = found("auto", WELL, CARD, nvml(cards=2))
    assert set(statuses(lines).values()) == {"ok"}
    assert lines["card 1"].finding == (
        "NVIDIA H100 number 1: 437 of 81,559 MiB used, driver 580.65.06"
    )
    assert "CUDAExecutionProvider is used" in lines["provider"].finding


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_with_a_card_a_missing_library_fails_with_its_packages(device: str) -> None:
    probed = Probed(
        version="1.31.1", cuda="13.0", providers=(CUDA, CPU), missing=("libcudnn.so.9",),
        driver=WELL.driver,
    )  # fmt: skip
    lines = found(device, probed, CARD, nvml(cards=1))
    assert lines["libraries"].status == lines["provider"].status == "fail"
    assert lines["libraries"].finding == "libcudnn.so.9 is not found"
    assert "pip install 'inferctl[cuda]'" in lines["libraries"].fix
    assert "nvidia-cudnn-cu13" in lines["libraries"].fix
    assert "libcudnn9-cuda-13" in lines["libraries"].fix


def test_a_card_without_a_driver_is_found_on_its_bus() -> None:
    lines = found("auto", WITHOUT, Machine(("0000:01:00.0",), ""))
    assert statuses(lines) == dict.fromkeys(("card", "driver", "libraries", "provider"), "fail")
    assert "0000:01:00.0" in lines["card"].finding
    assert "libcuda.so.1" in lines["driver"].finding
    assert "nvidia-driver" in lines["driver"].fix


def test_a_driver_that_was_replaced_wants_a_reboot() -> None:
    library = nvml(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    assert found("auto", WITHOUT, CARD, library)["card"].fix.startswith("reboot")


def test_a_driver_that_is_too_old_is_named_with_both_versions() -> None:
    probed = Probed(
        version="1.31.1", cuda="13.0", providers=(CUDA, CPU), missing=(),
        driver=Driver(cuda="12.4", devices=1), session="it failed",
    )  # fmt: skip
    lines = found("auto", probed, CARD, nvml(cards=1))
    assert lines["driver"].status == "fail"
    assert "12.4" in lines["driver"].finding
    assert "13.0" in lines["driver"].finding
    assert "it failed" in lines["provider"].finding


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("unknown error (999)", "nvidia-driver"),
        ("no CUDA-capable device is detected (100)", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_driver_that_does_not_begin_says_why(reason: str, fix: str) -> None:
    broken = Driver(cuda="13.0", error=f"cuInit: {reason}")
    probed = Probed(version="1", cuda="13.0", providers=(CUDA, CPU), missing=(), driver=broken)
    driver = found("auto", probed, CARD)["driver"]
    assert driver.status == "fail"
    assert reason in driver.finding
    assert fix in driver.fix


@pytest.mark.parametrize(("cards", "status"), [(0, "ok"), (1, "fail")])
def test_a_build_without_cuda_matters_where_there_is_a_card(cards: int, status: str) -> None:
    probed = Probed(version="1.32.0", providers=(CPU,), driver=Driver(cuda="13.0", devices=cards))
    lines = found("auto", probed, CARD if cards else BARE, nvml(cards=cards))
    assert lines["libraries"].status == status
    assert "no CUDA provider" in lines["libraries"].finding


def test_an_onnxruntime_that_says_nothing_is_not_taken_for_one_that_lacks_nothing() -> None:
    lines = found("cuda", Probed(ended="killed by SIGSEGV"), CARD, nvml(cards=1))
    assert lines["libraries"].status == "fail"


def test_the_system_s_own_view(tmp_path: Path) -> None:
    for name, vendor, kind in (
        ("0000:00:01.0", "0x8086", "0x030000"),
        ("0000:01:00.0", "0x10de", "0x030200"),
        ("0000:01:00.1", "0x10de", "0x040300"),
    ):
        device = tmp_path / "sys/bus/pci/devices" / name
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    assert look(tmp_path) == Machine(("0000:01:00.0",), "")
    module = tmp_path / "proc/driver/nvidia"
    module.mkdir(parents=True)
    (module / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
        "GCC version:  gcc version 12.2.0\n"
    )
    assert look(tmp_path).module == "580.65.06"
