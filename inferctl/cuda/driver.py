"""NVIDIA's driver, asked by its own library: whether it works, and for which devices."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from inferctl.cuda.lack import Lack

LIBRARY = "libcuda.so.1"
INSTALL = "apt install nvidia-driver; in a container: docker run --gpus all"
SHOW = "unset CUDA_VISIBLE_DEVICES; in a container: docker run --gpus all"
# What it says of a machine whose cards were taken from this process.
NO_DEVICE = "(100)"
# What the loader says of a file that is not there.
CANNOT_OPEN = "cannot open shared object file"


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver says: the newest CUDA it runs, how many devices, or what is wrong."""

    cuda: str = ""
    devices: int = 0
    error: str = ""


NOT_ASKED = Driver()
NOT_THERE = Lack(f"{LIBRARY}, the CUDA driver, is not found", INSTALL)


def lack_of_library() -> Lack | None:
    """What the loader alone can tell, in no time: nothing of the driver is begun."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return NOT_THERE
    return None


def ask_driver() -> Driver:
    """Begin it, which makes no context; raises nothing."""
    try:
        library = ctypes.CDLL(LIBRARY)
        version, count, text = ctypes.c_int(), ctypes.c_int(), ctypes.c_char_p()
        library.cuDriverGetVersion(ctypes.byref(version))
        cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
        if code := library.cuInit(0):
            library.cuGetErrorString(code, ctypes.byref(text))
            reason = (text.value or b"").decode() or "no reason given"
            return Driver(cuda, error=f"cuInit: {reason} ({code})")
        library.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError) as error:
        return Driver(error=str(error))
    return Driver(cuda, count.value)


def uuid_of(number: int) -> str:
    """A device's identity as NVML writes it; NVML numbers devices in an order of its own, and
    CUDA_VISIBLE_DEVICES hides none of them from it. Empty where the driver does not tell."""
    device, uuid = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    try:
        library: Any = ctypes.CDLL(LIBRARY)
        if library.cuDeviceGet(ctypes.byref(device), number):
            return ""
        if library.cuDeviceGetUuid(ctypes.byref(uuid), device):
            return ""
    except (OSError, AttributeError):
        return ""
    return f"GPU-{UUID(bytes=bytes(uuid))}"


def name_of(number: int) -> str:
    """A device's model, as "NVIDIA H200". Empty where the driver does not tell."""
    device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    try:
        library: Any = ctypes.CDLL(LIBRARY)
        if library.cuDeviceGet(ctypes.byref(device), number):
            return ""
        if library.cuDeviceGetName(name, len(name), device):
            return ""
    except (OSError, AttributeError):
        return ""
    return name.value.decode(errors="replace")


def lack_of_driver(driver: Driver, cuda: str, number: int = 0) -> Lack | None:
    """Why the device of that number cannot be used by what is built for this CUDA."""
    if driver.error:
        if CANNOT_OPEN in driver.error:
            return NOT_THERE
        return _unusable(driver.error, SHOW if NO_DEVICE in driver.error else INSTALL)
    if major(driver.cuda) < major(cuda):
        return Lack(
            f"the driver runs CUDA {driver.cuda} at most, and onnxruntime is built for {cuda}",
            f"install a newer driver, for CUDA {major(cuda)}: 580 or newer",
        )
    if not driver.devices:
        return Lack("the driver shows no device", SHOW)
    if number >= driver.devices:
        return Lack(
            f"there is no device {number}: the driver shows {driver.devices}, numbered from 0",
            f"take one of those, or {SHOW}",
        )
    return None


def _unusable(error: str, fix: str) -> Lack:
    return Lack(f"the CUDA driver cannot be used: {error}", fix)


def major(version: str) -> int:
    """The first number of a version; 0 where there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0
