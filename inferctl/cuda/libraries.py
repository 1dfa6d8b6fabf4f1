"""The libraries that onnxruntime's CUDA provider opens, and the packages that have them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from inferctl.cuda.driver import LIBRARY, major
from inferctl.cuda.elf import needed_libraries
from inferctl.cuda.lack import Lack

PROVIDER = "libonnxruntime_providers_cuda.so"
# What it opens by itself, once a model needs it: cuFFT has a number of its own.
LAZY = ("libcudnn.so.9", "libnvrtc.so.{cuda}", "libcufft.so.{cufft}")
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
NO_PROVIDER = Lack(
    "this build of onnxruntime has no CUDA provider",
    "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
)


def missing_libraries(provider: Path, cuda: str) -> list[str]:
    """Those that the loader does not find, besides the driver's; first what the provider cannot be
    loaded without."""
    names = {"cuda": major(cuda), "cufft": major(cuda) - 1}
    lazy = [name.format(**names) for name in LAZY]
    wanted = [*needed_libraries(provider), *lazy] if provider.is_file() else lazy
    return [name for name in wanted if name != LIBRARY and not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def lack_of_libraries(missing: Sequence[str], cuda: str) -> Lack | None:
    """What is not found, and every package that has some of it."""
    if not missing:
        return None
    pip, apt = packages_of(missing, cuda)
    return Lack(
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not found",
        f"{EXTRA} (brings {' '.join(pip)}), or from NVIDIA's repository: "
        f"apt install {' '.join(apt)}",
    )


def packages_of(libraries: Sequence[str], cuda: str) -> tuple[list[str], list[str]]:
    """The packages that have these, for pip and for apt; once each."""
    names = {"major": major(cuda), "cuda": f"{major(cuda)}-{cuda.partition('.')[2] or 0}"}
    found = [
        (pip.format(**names), apt.format(**names))
        for library in libraries
        for start, pip, apt in PACKAGES
        if library.startswith(start)
    ]
    return list(dict.fromkeys(one for one, _ in found)), list(dict.fromkeys(b for _, b in found))
