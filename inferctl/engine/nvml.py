"""Reads the machine's GPUs once a second, beside the runs: NVML may take its time."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

from inferctl.arena.board import Board, Gpu

LIBRARY = "libnvidia-ml.so.1"
READ_EVERY_S = 1.0

Figure = TypeVar("Figure")


def watch_gpus(board: Board) -> None:
    """Write what there is on the board from now on; without a driver nothing is begun."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return
    threading.Thread(target=_keep, args=(Gpus(import_module("pynvml")), board), daemon=True).start()


def _keep(gpus: Gpus, board: Board) -> None:
    while True:
        board.write(gpus.read(), time.monotonic())
        time.sleep(READ_EVERY_S)


class Gpus:
    """All that NVML knows; `nvml` is the module pynvml."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        # What pynvml raises where NVML fails, and where it says what is no text.
        self._failures = (nvml.NVMLError, ValueError)
        self._is_open = False

    def read(self) -> list[Gpu]:
        """Each that answers as it is now; none where NVML does not."""
        found = []
        with suppress(*self._failures):
            if not self._is_open:
                self._nvml.nvmlInit()
                self._is_open = True
            for index in range(self._nvml.nvmlDeviceGetCount()):
                with suppress(*self._failures):  # one that fell off the bus hides no other
                    found.append(self._gpu(index))
        if self._is_open and not found:
            # A driver that was replaced: next time from the start, which is none while it is open.
            self._is_open = False
            with suppress(*self._failures):
                self._nvml.nvmlShutdown()
        return found

    def _gpu(self, index: int) -> Gpu:
        nvml = self._nvml
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = self._figure(lambda: nvml.nvmlDeviceGetMemoryInfo(device))
        rates = self._figure(lambda: nvml.nvmlDeviceGetUtilizationRates(device))
        power_mw = self._figure(lambda: nvml.nvmlDeviceGetPowerUsage(device))
        limit_mw = self._figure(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(device))
        energy_mj = self._figure(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device))
        sensor = nvml.NVML_TEMPERATURE_GPU
        processes = self._figure(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(device)) or ()
        return Gpu(
            number=index,
            uuid=nvml.nvmlDeviceGetUUID(device),
            name=nvml.nvmlDeviceGetName(device),
            memory_used_bytes=memory and memory.used,
            memory_total_bytes=memory and memory.total,
            utilization=rates and rates.gpu / 100,
            power_w=_thousandth(power_mw),
            power_limit_w=_thousandth(limit_mw),
            energy_j=_thousandth(energy_mj),
            temperature_c=self._figure(lambda: nvml.nvmlDeviceGetTemperature(device, sensor)),
            is_own=any(process.pid == os.getpid() for process in processes),
        )

    def _figure(self, read: Callable[[], Figure]) -> Figure | None:
        """What not every device tells."""
        nvml = self._nvml
        try:
            return read()
        except nvml.NVMLError_GpuIsLost:
            raise
        except nvml.NVMLError:
            return None


def _thousandth(figure: float | None) -> float | None:
    return None if figure is None else figure / 1000
