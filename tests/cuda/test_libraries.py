"""The provider's libraries: those that are not found, and who has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.cuda import libraries as module
from inferctl.cuda.driver import LIBRARY
from inferctl.cuda.libraries import lack_of_libraries, missing_libraries, packages_of

from .machine import FakeDriver, give


def test_of_what_the_provider_opens_at_once_and_later_what_is_not_found_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = tmp_path / "provider.so"
    provider.touch()
    needed = ("libcublas.so.13", LIBRARY, "libcudart.so.13")
    monkeypatch.setattr(module, "needed_libraries", lambda _: needed)
    give(monkeypatch, None, missing=("libcublas.so.13", "libcufft.so.12", LIBRARY))
    assert missing_libraries(provider, "13.0") == ["libcublas.so.13", "libcufft.so.12"]
    give(monkeypatch, FakeDriver())
    assert missing_libraries(provider, "13.0") == []


def test_what_is_not_found_is_a_lack_with_its_packages() -> None:
    assert lack_of_libraries([], "13.0") is None
    lack = lack_of_libraries(["libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9"], "13.0")
    assert lack is not None
    assert lack.what == "libcublas.so.13, libcublasLt.so.13, libcudnn.so.9 are not found"
    assert "pip install 'inferctl[cuda]' (brings nvidia-cublas nvidia-cudnn-cu13)" in lack.fix
    assert lack.fix.endswith("apt install libcublas-13-0 libcudnn9-cuda-13")


def test_each_library_is_in_a_package_of_its_own_version() -> None:
    names = [
        "libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9",
        "libcufft.so.11", "libcurand.so.10", "libnvrtc.so.12", "libnvJitLink.so.12",
    ]  # fmt: skip
    pip, apt = packages_of(names, "12.8")
    assert len(pip) == len(apt) == len(names) - 1  # both of cuBLAS are in one
    assert "nvidia-cudnn-cu12" in pip
    assert {"libcublas-12-8", "cuda-cudart-12-8", "libcudnn9-cuda-12"} <= set(apt)
