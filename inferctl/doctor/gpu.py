"""NVIDIA's cards, driver and libraries: what is there, what is missing, and who has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pynvml

from inferctl.cuda.driver import INSTALL, LIBRARY, lack_of_driver
from inferctl.cuda.libraries import EXTRA, NO_PROVIDER, lack_of_libraries
from inferctl.device import is_strict, numbers_of
from inferctl.doctor.findings import Finding, Status, Subject
from inferctl.doctor.probing import CUDA, Probed
from inferctl.proc import text_of

gpu = Subject("gpu")

ROOT = Path("/")
VENDOR, DISPLAY = "0x10de", "0x03"
MIB = 1024 * 1024


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
    must_be = is_strict(device)
    lack: Status = "ok" if device == "cpu" else "fail" if must_be or is_there else "warn"
    if is_there:
        yield from _card_lines(seen, problem, machine, lack)
    else:
        yield _no_card(device, lack)
    yield _driver_line(device, probed, machine, is_there, lack)
    yield _library_line(probed, lack if is_there or must_be else "ok")
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
            "reboot: the driver was replaced while it was loaded" if reboot else INSTALL,
        )  # fmt: skip


def _no_card(device: str, lack: Status) -> Finding:
    finding = "no NVIDIA GPU: the models run on the CPU"
    if device == "cpu":
        finding = "no NVIDIA GPU, and runtime.device = cpu wants none"
    elif is_strict(device):
        finding = f"no NVIDIA GPU, and runtime.device = {device} asks for one"
    return gpu.judged(
        lack, "card", finding,
        "where there is none: runtime.device = \"cpu\"; where there is one: "
        f"{EXTRA}, and {INSTALL}",
    )  # fmt: skip


def _driver_line(
    device: str, probed: Probed, machine: Machine, is_there: bool, lack: Status
) -> Finding:
    module = f"kernel module {machine.module or 'unknown'}"
    if not is_there and not machine.module:
        return gpu.judged(
            lack if lack == "fail" else "ok", "driver", f"none ({LIBRARY}), and no card that would "
            "need one", INSTALL,
        )  # fmt: skip
    driver = probed.driver
    if not driver.error and not driver.cuda:
        return gpu.judged(lack, "driver", "nothing was heard of it", INSTALL)
    missing = lack_of_driver(driver, probed.cuda, max(numbers_of(device)))
    if missing is None:
        return gpu.ok("driver", f"CUDA {driver.cuda}, devices {driver.devices}, {module}")
    loaded = f"; {module}" if machine.module else "; no kernel module"
    return gpu.judged(lack, "driver", f"{missing.what}{loaded}", missing.fix)


def _library_line(probed: Probed, lack: Status) -> Finding:
    if probed.version and CUDA not in probed.providers:
        return gpu.judged(lack, "libraries", *NO_PROVIDER)
    if probed.missing is None:
        return gpu.judged(
            lack, "libraries", "onnxruntime could not be asked for them",
            "mend onnxruntime first: see above",
        )  # fmt: skip
    missing = lack_of_libraries(probed.missing, probed.cuda)
    if missing is None:
        return gpu.ok("libraries", f"all that CUDA {probed.cuda} takes are found")
    if lack == "ok":
        return gpu.ok("libraries", f"{missing.what}; not needed without a GPU")
    return gpu.judged(lack, "libraries", *missing)


def _provider_line(device: str, probed: Probed, lack: Status) -> Finding:
    if device == "cpu":
        return gpu.ok("provider", "CPUExecutionProvider is used, as runtime.device = cpu says")
    if probed.session == "":
        return gpu.ok("provider", "CUDAExecutionProvider is used; it ran a graph")
    used = "CUDA cannot be used" if is_strict(device) else "CPUExecutionProvider is used"
    if lack == "warn":
        return gpu.ok("provider", f"{used}, for there is no GPU")
    why = f": {probed.session}" if probed.session else ", for what is said above"
    return gpu.judged(lack, "provider", f"{used}{why}", "mend what is said above, then run again")
