"""TensorRT's libraries: where they are looked for, and who has those that are not found."""

from __future__ import annotations

import ctypes
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inferctl.cuda import tensorrt as module
from inferctl.cuda.tensorrt import (
    lack_of_tensorrt,
    missing_tensorrt,
    tensorrt_libraries,
    version_of_tensorrt,
)

LIBRARIES = ["libnvinfer.so.10", "libnvonnxparser.so.10"]


def test_the_parser_comes_after_what_it_needs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = tmp_path / "provider.so"
    assert tensorrt_libraries(provider) == []
    provider.touch()
    needed = (LIBRARIES[1], "libcudart.so.13", LIBRARIES[0])
    monkeypatch.setattr(module, "needed_libraries", lambda _: needed)
    assert tensorrt_libraries(provider) == LIBRARIES


def test_those_of_pip_are_loaded_from_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = str(tmp_path / LIBRARIES[0])
    loaded: list[str] = []

    def load(file: str) -> None:
        if file != there:
            raise OSError(file)
        loaded.append(file)

    spec = ModuleSpec("tensorrt_libs", None)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(module, "find_spec", lambda _: spec)
    assert missing_tensorrt(LIBRARIES) == LIBRARIES[1:]
    assert loaded == [there]
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert missing_tensorrt(LIBRARIES) == LIBRARIES


def test_what_is_not_found_is_a_lack_with_packages_of_its_own_version() -> None:
    assert lack_of_tensorrt([], "13.0") is None
    assert lack_of_tensorrt(LIBRARIES, "13.0") == (
        "libnvinfer.so.10 and libnvonnxparser.so.10 of TensorRT are not found",
        "pip install 'tensorrt-cu13-libs<11', or from NVIDIA's repository: "
        "apt install libnvinfer10 libnvonnxparsers10",
    )
    assert lack_of_tensorrt(LIBRARIES[1:], "12.8") == (
        "libnvonnxparser.so.10 of TensorRT is not found",
        "pip install 'tensorrt-cu12-libs<11', or from NVIDIA's repository: apt install "
        "libnvonnxparsers10",
    )


@pytest.mark.parametrize(
    ("library", "version"),
    [(SimpleNamespace(getInferLibVersion=lambda: 101303), "10.13.3"), (object(), "")],
)
def test_its_version_is_told_by_itself(
    library: Any, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    assert version_of_tensorrt(LIBRARIES) == version
    assert version_of_tensorrt([]) == ""
