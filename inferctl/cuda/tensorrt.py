"""The libraries of TensorRT that onnxruntime's provider opens, and the packages that have them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from inferctl.cuda.driver import major
from inferctl.cuda.elf import needed_libraries
from inferctl.cuda.lack import Lack

PROVIDER = "libonnxruntime_providers_tensorrt.so"
# Where pip puts them, which the loader does not know.
PACKAGE = "tensorrt_libs"
# What the provider needs besides CUDA's, and their packages at NVIDIA's repository.
INFER, PARSER = "libnvinfer.so.", "libnvonnxparser.so."
APT = {INFER: "libnvinfer{number}", PARSER: "libnvonnxparsers{number}"}
NO_PROVIDER = Lack(
    "this build of onnxruntime has no TensorRT provider",
    "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
)


def tensorrt_libraries(provider: Path) -> list[str]:
    """Those that the provider needs, in the order in which they need each other."""
    needed = needed_libraries(provider) if provider.is_file() else ()
    return [name for start in (INFER, PARSER) for name in needed if name.startswith(start)]


def missing_tensorrt(libraries: Sequence[str]) -> list[str]:
    """Load them, for the provider finds what is loaded; those that are not found."""
    return [name for name in libraries if not _loads(name)]


def _loads(name: str) -> bool:
    spec = find_spec(PACKAGE)
    folders = (spec and spec.submodule_search_locations) or []
    for file in (name, *(str(Path(folder) / name) for folder in folders)):
        try:
            ctypes.CDLL(file)
        except OSError:
            continue
        return True
    return False


def lack_of_tensorrt(missing: Sequence[str], cuda: str) -> Lack | None:
    """What is not found, and the packages that have it; they are named by the libraries' number."""
    if not missing:
        return None
    number = int(missing[0].rpartition(".")[2])
    apt = " ".join(
        package.format(number=number)
        for start, package in APT.items()
        if any(name.startswith(start) for name in missing)
    )
    return Lack(
        f"{' and '.join(missing)} of TensorRT {'is' if len(missing) == 1 else 'are'} not found",
        f"pip install 'tensorrt-cu{major(cuda)}-libs<{number + 1}', or from NVIDIA's repository: "
        f"apt install {apt}",
    )


def version_of_tensorrt(libraries: Sequence[str]) -> str:
    """As "10.13.3"; empty where it does not tell."""
    try:
        number = int(ctypes.CDLL(libraries[0]).getInferLibVersion())
    except (OSError, AttributeError, IndexError):
        return ""
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
