"""CUDA's runtime, through cuda-bindings: device memory, host memory that it reads itself, streams.

It is optional: without it onnxruntime does the copying.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.engine.session import LOST_ERRORS, DeviceLost, OutOfMemory, RunFailed

Array = npt.NDArray[Any]

PACKAGE, MODULE = "cuda.bindings", "cuda.bindings.runtime"


class Memory:
    """Memory at `address`, given back with the last one who holds it."""

    def __init__(self, address: int, give_back: Callable[[int], object]) -> None:
        self.address = address
        finalizer = weakref.finalize(self, give_back, address)
        # At the end of the process the driver frees it, after all that still uses it.
        finalizer.atexit = False


class Cuda:
    """One device; `runtime` is the module cuda.bindings.runtime.

    Its functions raise RunFailed, OutOfMemory or DeviceLost, as a run does. What makes something
    makes it on this device, whichever one the thread meant before.
    """

    # As onnxruntime names the kind of memory.
    kind = "cuda"

    def __init__(self, runtime: Any, device_id: int) -> None:
        self._runtime = runtime
        self.device_id = device_id
        # Before anything uses the device: a thread that waits for it would spin on a core that
        # has images to decode.
        flags = runtime.cudaDeviceScheduleBlockingSync
        self._call(runtime.cudaInitDevice(device_id, flags, runtime.cudaInitDeviceFlagsAreValid))

    def enter(self) -> None:
        """From now on this thread means this device, and minds no other thread's captures."""
        self._call(self._runtime.cudaSetDevice(self.device_id))
        self.mind_own_captures()

    def mind_own_captures(self) -> None:
        """From now on this thread's calls do not fail, nor break it, because another one captures.

        Those that CUDA calls potentially unsafe do otherwise:
        https://docs.nvidia.com/cuda/cuda-runtime-api, cudaThreadExchangeStreamCaptureMode.
        """
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._runtime.cudaThreadExchangeStreamCaptureMode(mode))

    def stream(self) -> Memory:
        """A stream, whose handle is the address: what is given to it is done in order."""
        self.enter()
        runtime = self._runtime
        handle = self._call(runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        return self._held(int(handle), runtime.cudaStreamDestroy)

    def event(self) -> Memory:
        """A mark in a stream, see `follow`."""
        self.enter()
        runtime = self._runtime
        handle = self._call(runtime.cudaEventCreateWithFlags(runtime.cudaEventDisableTiming))
        return self._held(int(handle), runtime.cudaEventDestroy)

    def follow(self, stream: Memory, other: Memory, mark: Memory) -> None:
        """What `stream` is given from now on waits for what `other` was given until now."""
        self._call(self._runtime.cudaEventRecord(mark.address, other.address))
        self._call(self._runtime.cudaStreamWaitEvent(stream.address, mark.address, 0))

    def free_bytes(self) -> int:
        """Memory of the device that is left; from now on this thread means this device."""
        self.enter()
        free_bytes, _ = self._call(self._runtime.cudaMemGetInfo())
        return int(free_bytes)

    def device_memory(self, size: int) -> Memory:
        """Zero bytes on the device."""
        self.enter()
        address = int(self._call(self._runtime.cudaMalloc(size)))
        memory = self._held(address, self._runtime.cudaFree)
        self._call(self._runtime.cudaMemset(memory.address, 0, size))
        return memory

    def host_memory(self, size: int) -> Memory:
        """Page-locked bytes of the host, which the device reads without the help of a core."""
        self.enter()
        address = int(self._call(self._runtime.cudaHostAlloc(size, 0)))
        return self._held(address, self._runtime.cudaFreeHost)

    def _held(self, address: int, free: Callable[[int], object]) -> Memory:
        """Whoever lets go of it last may be a thread that never entered."""

        def give_back(address: int) -> None:
            with suppress(RunFailed):
                self.mind_own_captures()
            free(address)

        return Memory(address, give_back)

    def upload(self, source: Array, target: Memory, stream: Memory) -> None:
        """Begin to copy an array to the device."""
        to_device = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(target.address, source.ctypes.data, source.nbytes, to_device, stream)

    def download(self, source: Memory, target: Array, stream: Memory) -> None:
        """Begin to fill an array from the device."""
        to_host = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(target.ctypes.data, source.address, target.nbytes, to_host, stream)

    def _copy(self, target: int, source: int, size: int, kind: Any, stream: Memory) -> None:
        self._call(self._runtime.cudaMemcpyAsync(target, source, size, kind, stream.address))

    def wait(self, stream: Memory) -> None:
        """Until all that was given to the stream is done."""
        self._call(self._runtime.cudaStreamSynchronize(stream.address))

    def _call(self, answer: tuple[Any, ...]) -> Any:
        """What a function returned besides its error; raises that."""
        error, *values = answer
        if int(error):
            no_memory = error == self._runtime.cudaError_t.cudaErrorMemoryAllocation
            kind = DeviceLost if int(error) in LOST_ERRORS else RunFailed
            raise (OutOfMemory if no_memory else kind)(f"CUDA: {error.name}")
        return values[0] if len(values) == 1 else values


def array_at(memory: Memory, shape: tuple[int, ...], dtype: str) -> Array:
    """Host memory as an array, which holds it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = (ctypes.c_uint8 * size).from_address(memory.address)
    buffer.memory = memory  # type: ignore[attr-defined] # what the array's buffer has, the array has
    return np.ndarray(shape, dtype, memoryview(buffer))


@cache
def open_cuda(device_id: int) -> Cuda | None:
    """The device; None without cuda-bindings, or where it finds none.

    Raises OutOfMemory or DeviceLost.
    """
    try:
        is_there = find_spec(PACKAGE) is not None
    except ModuleNotFoundError:  # not even its parent package
        return None
    if not is_there:
        return None
    try:
        return Cuda(import_module(MODULE), device_id)
    except (OutOfMemory, DeviceLost):
        raise  # which may pass, and None would stay
    except RunFailed:
        return None
