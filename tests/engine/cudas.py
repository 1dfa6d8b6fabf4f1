"""CUDA's runtime without a GPU: device memory is the host's, and a stream does things at once."""

# ruff: noqa: N802, N815 - CUDA's own names

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferctl.cuda.driver import Driver, lack_of_driver
from inferctl.cuda.lack import Lack
from inferctl.device import number_of
from inferctl.engine import instances, placement
from inferctl.engine.cuda import Cuda
from inferctl.engine.placement import PLAIN, CudaUse, Placement
from inferctl.engine.session import Session
from inferctl.settings import RuntimeSettings


class Error(IntEnum):
    """As `cudaError_t`."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorLaunchFailure = 719


class Runtime:
    """The functions of cuda.bindings.runtime that are used; `left` bytes can still be had.

    A thread means the first device until it says otherwise; what is made belongs to the one that it
    means then, and is used with nothing of another's. `uploads` are counted by device, and
    `largest` is how large a piece of memory a device gives; with 0 it says that none is left.
    """

    cudaError_t = Error
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaDeviceScheduleBlockingSync = 4
    cudaInitDeviceFlagsAreValid = 1
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, left: int = 2**30) -> None:
        self.left = left
        self.allocated: dict[int, ctypes.Array[ctypes.c_uint8]] = {}
        self.copied: list[tuple[int, int]] = []  # bytes and direction
        self.devices: list[int] = []
        self.modes: dict[int, int] = {}  # of capturing, by thread
        self.handles: set[int] = set()  # streams and events that are there
        self.made = 0
        self.ended: list[str] = []  # what was waited for and given back
        self.uploads = Counter[int]()
        self.largest: dict[int, int] = {}
        self._meant = threading.local()
        self._device_of: dict[int, int] = {}
        self.followed: list[tuple[int, int]] = []
        self.fails: Error = Error.cudaSuccess

    def cudaInitDevice(self, device: int, flags: int, valid: int) -> tuple[Error]:
        return (self.fails,)

    def cudaSetDevice(self, device: int) -> tuple[Error]:
        self.devices.append(device)
        self._meant.device = device
        return (Error.cudaSuccess,)

    def cudaThreadExchangeStreamCaptureMode(self, mode: int) -> tuple[Error, int]:
        self.modes[threading.get_ident()] = mode
        return Error.cudaSuccess, 0

    def cudaMemGetInfo(self) -> tuple[Error, int, int]:
        return Error.cudaSuccess, self.left if self._largest() else 0, 2**30

    def cudaMalloc(self, size: int) -> tuple[Error, int]:
        if size > min(self.left, self._largest()):
            return Error.cudaErrorMemoryAllocation, 0
        memory = (ctypes.c_uint8 * size)()
        self.left -= size
        self.allocated[ctypes.addressof(memory)] = memory
        return Error.cudaSuccess, self._made(ctypes.addressof(memory))

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Error, int]:
        return self.cudaMalloc(size)

    def cudaFree(self, address: int) -> tuple[Error]:
        assert threading.get_ident() in self.modes, "another thread's capture would break"
        self.left += len(self.allocated.pop(address))
        self.ended.append("freed")
        return (Error.cudaSuccess,)

    cudaFreeHost = cudaFree

    def cudaMemset(self, address: int, value: int, size: int) -> tuple[Error]:
        ctypes.memset(address, value, size)
        return (Error.cudaSuccess,)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[Error]:
        is_upload = kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice
        assert self.device_of(target if is_upload else source) == self.device_of(stream)
        self.uploads[self.device_of(stream)] += is_upload
        ctypes.memmove(target, source, size)
        self.copied.append((size, kind))
        return (self.fails,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Error, int]:
        self.made += 1
        self.handles.add(self.made)
        return Error.cudaSuccess, self._made(self.made)

    cudaEventCreateWithFlags = cudaStreamCreateWithFlags

    def _made(self, handle: int) -> int:
        self._device_of[handle] = self._device()
        return handle

    def holders(self) -> set[int]:
        """The devices of which memory, streams or events are held."""
        return {self._device_of[one] for one in (*self.allocated, *self.handles)}

    def _device(self) -> int:
        return getattr(self._meant, "device", 0)

    def _largest(self) -> int:
        return self.largest.get(self._device(), self.left)

    def device_of(self, handle: int) -> int:
        """What memory, a stream or an event belongs to."""
        return self._device_of[handle]

    def cudaStreamDestroy(self, handle: int) -> tuple[Error]:
        self.handles.remove(handle)
        self.ended.append(f"destroyed {handle}")
        return (Error.cudaSuccess,)

    cudaEventDestroy = cudaStreamDestroy

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Error]:
        assert self.device_of(event) == self.device_of(stream)
        self.followed.append((event, stream))
        return (Error.cudaSuccess,)

    def cudaStreamWaitEvent(self, stream: int, event: int, flags: int) -> tuple[Error]:
        assert self.device_of(event) == self.device_of(stream)
        self.followed.append((stream, event))
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Error]:
        assert stream in self.handles
        self.ended.append(f"waited for {stream}")
        return (self.fails,)


class HostCuda(Cuda):
    """A device that is the host, also to onnxruntime."""

    kind = "cpu"


def give_device(monkeypatch: pytest.MonkeyPatch, devices: int = 1, **changes: Any) -> Runtime:
    """Have all models of this process run on a device that is the host, or on several."""
    runtime = Runtime(**changes)
    cudas = [HostCuda(runtime, number) for number in range(devices)]

    def place(settings: RuntimeSettings, use: CudaUse = PLAIN) -> Placement:
        number = number_of(settings.device)
        if lack := lack_of(number):
            raise lack.refusal(settings.device)
        return Placement(f"cuda:{number}", (), f"GPU-{number}")

    def lack_of(number: int) -> Lack | None:
        return lack_of_driver(driver, driver.cuda, number)

    def load(graph: Path, settings: RuntimeSettings, threads: int, use: CudaUse) -> Session:
        session = Session(graph, RuntimeSettings(device="cpu"), threads, use=use)
        session.on_cuda, session.placement = True, place(settings)
        return session

    driver = Driver(cuda="13.0", devices=devices)
    monkeypatch.setattr(placement, "_lack", lack_of)
    monkeypatch.setattr(placement, "ask_driver", lambda: driver)
    monkeypatch.setattr(instances, "place", place)
    monkeypatch.setattr(instances, "open_cuda", cudas.__getitem__)
    monkeypatch.setattr(instances, "Session", load)
    return runtime


def host_cuda(**changes: Any) -> tuple[HostCuda, Runtime]:
    """The device and what it was asked."""
    runtime = Runtime(**changes)
    return HostCuda(runtime, 0), runtime
