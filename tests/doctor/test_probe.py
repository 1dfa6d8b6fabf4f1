"""The probe, against a loader that finds some of CUDA's libraries and not others."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from inferctl.cuda.driver import LIBRARY
from inferctl.cuda.elf import needed_libraries
from inferctl.cuda.libraries import PROVIDER
from inferctl.doctor.probe import GRAPH
from inferctl.doctor.probing import COMMAND, CUDA, Probe
from inferctl.engine.session import Session
from inferctl.settings import RuntimeSettings

CAPI = Path(ort.__file__).parent / "capi"


def probed(libraries: Path) -> dict[str, Any]:
    """What it says where the loader looks in this folder first."""
    said = subprocess.run(
        COMMAND, check=True, capture_output=True, text=True,
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
    ).stdout  # fmt: skip
    found: dict[str, Any] = {}
    for line in said.splitlines():
        found |= json.loads(line)
    return found


@pytest.mark.skipif(not (CAPI / PROVIDER).is_file(), reason="no CUDA provider in this build")
def test_of_the_libraries_those_that_are_not_found_are_named(tmp_path: Path) -> None:
    try:
        ctypes.CDLL("libcudnn.so.9")
    except OSError:
        pass
    else:
        pytest.skip("this machine has cuDNN")
    # Any library will do for the loader.
    for name in (*needed_libraries(CAPI / PROVIDER), "libcufft.so.12"):
        if name.startswith(("libcu", "libcudart")):
            shutil.copy(CAPI / "libonnxruntime_providers_shared.so", tmp_path / name)
    found = probed(tmp_path)
    assert found["version"] == ort.__version__
    assert found["providers"] == ort.get_available_providers()
    assert "libcudnn.so.9" in found["missing"]
    assert not {"libcublas.so.13", "libcublasLt.so.13", "libcufft.so.12", LIBRARY} & set(
        found["missing"]
    )
    # The stub is no driver, which is said and does no harm.
    assert "cuDriverGetVersion" in found["driver"]["error"]
    assert "session" not in found


def test_its_graph_runs(tmp_path: Path) -> None:
    (tmp_path / "probe.onnx").write_bytes(GRAPH)
    session = Session(tmp_path / "probe.onnx", RuntimeSettings(device="cpu"), threads=1)
    (out,) = session.run({"x": np.float32([7])})
    assert out.tolist() == [7]


def test_the_probe_of_this_machine_tells_its_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And imports nothing from where it was started."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('another one')")
    monkeypatch.chdir(tmp_path)
    found = Probe().result()
    assert found.ended == ""
    assert found.version == ort.__version__
    assert found.opset >= 20
    assert (found.missing is None) == (CUDA not in found.providers)


def test_what_a_library_prints_on_stdout_is_no_finding() -> None:
    prints = (
        "import os, onnxruntime as ort\n"
        "from inferctl.doctor.probe import main\n"
        "providers = ort.get_available_providers()\n"
        "ort.get_available_providers = lambda: os.write(1, b'warning\\n') and providers\n"
        "main()"
    )
    found = Probe((sys.executable, "-P", "-c", prints)).result()
    assert found.ended == ""
    assert found.providers == tuple(ort.get_available_providers())
