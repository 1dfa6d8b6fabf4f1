"""NVIDIA's cards, driver and libraries: what is there, what is missing, and who has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pynvml

from inferctl.doctor.findings import Finding, Status, Subject
from inferctl.doctor.probing import CUDA, Probed
from inferctl.proc import text_of

gpu = Subject("gpu")

ROOT = Path("/")
VENDOR, DISPLAY = "0x10de", "0x03"
MIB = 1024 * 1024
# The file's beginning, the package at PyPI, and at NVIDIA's repository for Debian and Ubuntu.
PACKAGES = (
    ("libcudart.", "nvidia-cuda-runtime", "cuda-cudart-{cuda}"),
    ("libcublas", "nvidia-cublas", "libcublas-{cuda}"),
    ("libcudnn", "nvidia-cudnn-cu{major}", "libcudnn9-cuda-{major}"),
    ("libcufft", "nvidia-cufft", "libcufft-{cuda}"),
    ("libcurand", "nvidia-curand", "libcurand-{cuda}"),
    ("libnvrtc", "nvidia-cuda-nvrtc", "cuda-nvrtc-{cuda}"),
    ("libnvJitLink", "nvidia-nvjitlink", "libnvjitlink-{cuda}"),
)
EXTRA = "pip install 'inferctl[cuda]'"
DRIVER = "apt install nvidia-driver; in a container: docker run --gpus all"
# What the driver says of a machine whose cards were taken from this process.
NO_DEVICE = "(100)"
HIDDEN = "unset CUDA_VISIBLE_DEVICES; in a container: docker run --gpus all"


class Machine(NamedTuple):
    """What the system says without a driver's help: addresses of cards, the module's version."""

    cards: tuple[str, ...]
    module: str


def look(root: Path = ROOT) -> Machine:
    """Read /sys and /proc below `root`."""
    cards = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        is_display = text_of(device / "class").startswith(DISPLAY)
        if is_display and text_of(device / "vendor") == VENDOR:
            cards.append(device.name)
    version = re.search(r"\d+\.\d+(?:\.\d+)*", text_of(root / "proc/driver/nvidia/version"))
    return Machine(tuple(cards), version[0] if version else "")


def gpu_findings(
    device: str, probed: Probed, machine: Machine, nvml: Any = pynvml
) -> Iterator[Finding]:
    """`device` is the most that any model's `runtime.device` asks for."""
    seen, problem = _nvidia_smi(nvml)
    is_there = bool(seen or machine.cards or probed.driver.devices)
    # Where there is a card "auto" means it; where there is none, it means the CPU.
    lack: Status = "ok" if device == "cpu" else "fail" if device == "cuda" or is_there else "warn"
    if is_there:
        yield from _card_lines(seen, problem, machine, lack)
    else:
        yield _no_card(device, lack)
    yield _driver_line(probed, machine, is_there, lack)
    yield _library_line(probed, lack if is_there or device == "cuda" else "ok")
    yield _provider_line(device, probed, lack)


def _nvidia_smi(nvml: Any) -> tuple[list[str], str]:
    """What `nvidia-smi` would show, a line for each device; and why not, if so."""
    try:
        nvml.nvmlInit()
        try:
            driver = nvml.nvmlSystemGetDriverVersion()
            count = nvml.nvmlDeviceGetCount()
            return [_shown(nvml, index, driver) for index in range(count)], ""
        finally:
            nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        return [], str(error)


def _shown(nvml: Any, index: int, driver: str) -> str:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return (
        f"{nvml.nvmlDeviceGetName(handle)}: {memory.used // MIB:,} of {memory.total // MIB:,} MiB "
        f"used, driver {driver}"
    )


def _card_lines(
    seen: Sequence[str], problem: str, machine: Machine, lack: Status
) -> Iterator[Finding]:
    for index, line in enumerate(seen):
        yield gpu.ok(f"card {index}", line)
    if not seen:
        where = ", ".join(machine.cards) or "the driver's"
        reboot = "mismatch" in problem.lower()
        yield gpu.judged(
            lack, "card", f"an NVIDIA card is there ({where}), and NVML says: {problem}",
            "reboot: the driver was replaced while it was loaded" if reboot else DRIVER,
        )  # fmt: skip


def _no_card(device: str, lack: Status) -> Finding:
    finding = {
        "cpu": "no NVIDIA GPU, and runtime.device = cpu wants none",
        "cuda": "no NVIDIA GPU, and runtime.device = cuda asks for one",
    }.get(device, "no NVIDIA GPU: the models run on the CPU")
    return gpu.judged(
        lack, "card", finding,
        f"where there is none: runtime.device = \"cpu\"; where there is one: {EXTRA}, and {DRIVER}",
    )  # fmt: skip


def _driver_line(probed: Probed, machine: Machine, is_there: bool, lack: Status) -> Finding:
    driver, module = probed.driver, f"kernel module {machine.module or 'unknown'}"
    if driver.cuda and not driver.error:
        if _major(driver.cuda) < _major(probed.cuda):
            return gpu.judged(
                lack, "driver",
                f"it runs CUDA {driver.cuda} at most, and onnxruntime is built for {probed.cuda}",
                f"install a newer one, for CUDA {_major(probed.cuda)}: 580 or newer",
            )  # fmt: skip
        return gpu.ok("driver", f"CUDA {driver.cuda}, {module}")
    if not is_there and not machine.module:
        return gpu.judged(
            lack if lack == "fail" else "ok", "driver", "none, and no card that would need one",
            DRIVER,
        )  # fmt: skip
    why = driver.error or "nothing was heard of it"
    loaded = f"; {module}" if machine.module else "; no kernel module"
    fix = HIDDEN if NO_DEVICE in why else DRIVER
    return gpu.judged(lack, "driver", f"it cannot be used: {why}{loaded}", fix)


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _library_line(probed: Probed, lack: Status) -> Finding:
    if probed.version and CUDA not in probed.providers:
        return gpu.judged(
            lack, "libraries", "this build of onnxruntime has no CUDA provider",
            "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )  # fmt: skip
    if probed.missing is None:
        return gpu.judged(
            lack, "libraries", "onnxruntime could not be asked for them",
            "mend onnxruntime first: see above",
        )  # fmt: skip
    if not probed.missing:
        return gpu.ok("libraries", f"all that CUDA {probed.cuda} takes are found")
    missing = ", ".join(probed.missing)
    if lack == "ok":
        return gpu.ok("libraries", f"not found, and not needed without a GPU: {missing}")
    pip, apt = packages_of(probed.missing, probed.cuda)
    return gpu.judged(
        lack, "libraries", f"not found: {missing}",
        f"{EXTRA}  (brings {' '.join(pip)}); or from NVIDIA's repository: "
        f"apt install {' '.join(apt)}",
    )  # fmt: skip


def packages_of(libraries: Sequence[str], cuda: str) -> tuple[list[str], list[str]]:
    """The packages that have these, for pip and for apt; once each."""
    major = _major(cuda)
    names = {"major": major, "cuda": f"{major}-{cuda.partition('.')[2] or 0}"}
    found = [
        (pip.format(**names), apt.format(**names))
        for library in libraries
        for start, pip, apt in PACKAGES
        if library.startswith(start)
    ]
    return list(dict.fromkeys(one for one, _ in found)), list(dict.fromkeys(b for _, b in found))


def _provider_line(device: str, probed: Probed, lack: Status) -> Finding:
    if device == "cpu":
        return gpu.ok("provider", "CPUExecutionProvider is used, as runtime.device = cpu says")
    if probed.session == "":
        return gpu.ok("provider", "CUDAExecutionProvider is used; it ran a graph")
    used = "CUDA cannot be used" if device == "cuda" else "CPUExecutionProvider is used"
    if lack == "warn":
        return gpu.ok("provider", f"{used}, for there is no GPU")
    why = f": {probed.session}" if probed.session else ", for what is said above"
    return gpu.judged(lack, "provider", f"{used}{why}", "mend what is said above, then run again")
