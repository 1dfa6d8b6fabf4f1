"""A machine's loader and NVIDIA's driver, in place of those that are here."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from inferctl.cuda.driver import LIBRARY

NO_DEVICE = 100
UUID = bytes(range(16))
CUDA_13 = 13000


@dataclass
class FakeDriver:
    """What its library answers; arguments are those of the driver's API."""

    version: int = CUDA_13
    devices: int = 1
    error: int = 0
    has_names: bool = True
    asked: int = 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 - the driver's names
        version._obj.value = self.version
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        self.asked += 1
        assert flags == 0
        return self.error

    def cuGetErrorString(self, code: int, text: Any) -> int:  # noqa: N802
        known = {NO_DEVICE: b"no CUDA-capable device is detected"}
        text._obj.value = known.get(code)
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return 0 if number < self.devices else 101

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        if not self.has_names:
            return 801
        name.value = f"NVIDIA H200 {device.value}"[:size].encode()
        return 0

    def cuDeviceGetUuid(self, uuid: Any, device: Any) -> int:  # noqa: N802
        if not self.has_names:
            return 801
        uuid._obj[:] = UUID[:-1] + bytes([device.value])
        return 0


def give(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None, missing: tuple[str, ...] = ()
) -> None:
    """Let the loader find this driver, and every other library but those that are missing."""
    absent = (*missing, *(() if driver else (LIBRARY,)))

    def load(name: str) -> Any:
        if name in absent:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return driver if name == LIBRARY else object()

    loads: Callable[[str], Any] = load
    monkeypatch.setattr(ctypes, "CDLL", loads)
