"""The driver: what it says, and what of that keeps CUDA from running."""

from __future__ import annotations

import ctypes

import pytest

from inferctl.cuda.driver import (
    Driver,
    ask_driver,
    lack_of_driver,
    lack_of_library,
    name_of,
    uuid_of,
)

from .machine import NO_DEVICE, FakeDriver, give


def test_a_driver_tells_its_cuda_and_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, FakeDriver(version=12040, devices=2))
    assert ask_driver() == Driver("12.4", 2)
    assert lack_of_library() is None


def test_without_a_driver_its_library_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give(monkeypatch, None)
    lack = lack_of_driver(ask_driver(), "13.0")
    assert lack == lack_of_library()
    assert lack is not None
    assert lack.what == "libcuda.so.1, the CUDA driver, is not found"
    assert "apt install nvidia-driver" in lack.fix
    assert "--gpus all" in lack.fix


@pytest.mark.parametrize(
    ("driver", "number", "what", "fix"),
    [
        (FakeDriver(error=NO_DEVICE), 0, "no CUDA-capable device is detected (100)", "VISIBLE"),
        (FakeDriver(error=999), 0, "cuInit: no reason given (999)", "nvidia-driver"),
        (FakeDriver(devices=0), 0, "the driver shows no device", "CUDA_VISIBLE_DEVICES"),
        (FakeDriver(devices=2), 2, "there is no device 2: the driver shows 2", "take one"),
        (FakeDriver(version=12080), 0, "CUDA 12.8 at most, and onnxruntime is built for 13.0",
         "for CUDA 13"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_driver_is_named_with_what_to_do(
    driver: FakeDriver, number: int, what: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, driver)
    lack = lack_of_driver(ask_driver(), "13.0", number)
    assert lack is not None
    assert what in lack.what
    assert fix in lack.fix


@pytest.mark.parametrize("number", [0, 1])
def test_a_device_that_is_there_lacks_nothing(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, FakeDriver(devices=2))
    assert lack_of_driver(ask_driver(), "13.0", number) is None


def test_a_library_of_that_name_that_is_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    lack = lack_of_driver(ask_driver(), "13.0")
    assert lack is not None
    assert "cannot be used: 'object' object has no attribute 'cuDriverGetVersion'" in lack.what


def test_a_device_is_known_by_what_nvml_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, FakeDriver(devices=2))
    assert uuid_of(1) == "GPU-00010203-0405-0607-0809-0a0b0c0d0e01"
    assert name_of(1) == "NVIDIA H200 1"


@pytest.mark.parametrize(
    "driver", [None, FakeDriver(devices=1), FakeDriver(devices=2, has_names=False)]
)
def test_a_device_that_the_driver_does_not_tell_has_no_identity(
    driver: FakeDriver | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, driver)
    assert (uuid_of(1), name_of(1)) == ("", "")
