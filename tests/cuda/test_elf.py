"""Which libraries a shared library asks for: of real ones, and of what is none."""

from __future__ import annotations

import shutil
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from inferctl.cuda.elf import needed_libraries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's")

NUMPY = Path(np._core._multiarray_umath.__file__)


def test_a_library_names_all_it_asks_for() -> None:
    assert {"libc.so.6", "libm.so.6"} <= set(needed_libraries(NUMPY))


def test_the_provider_of_cuda_asks_for_cublas_and_the_driver() -> None:
    spec = find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    provider = Path(spec.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    if not provider.is_file():
        pytest.skip("this build of onnxruntime has no CUDA provider")
    needed = needed_libraries(provider)
    assert "libcuda.so.1" in needed
    assert [name for name in needed if name.startswith("libcublas.so.")]


@pytest.mark.parametrize("length", [0, 3, 40, 70, 1000])
def test_a_library_that_is_cut_short_asks_for_nothing(tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut.so"
    cut.write_bytes(NUMPY.read_bytes()[:length])
    assert needed_libraries(cut) == ()


@pytest.mark.parametrize("offset", [2**40, 2**63, 2**64 - 1])
def test_a_library_whose_table_lies_nowhere_asks_for_nothing(tmp_path: Path, offset: int) -> None:
    damaged = tmp_path / "damaged.so"
    header = bytearray(NUMPY.read_bytes()[:1000])
    struct.pack_into("<Q", header, 0x20, offset)
    damaged.write_bytes(header)
    assert needed_libraries(damaged) == ()


def test_what_is_no_library_asks_for_nothing(tmp_path: Path) -> None:
    other = tmp_path / "libx.so"
    shutil.copy(__file__, other)
    assert needed_libraries(other) == ()
