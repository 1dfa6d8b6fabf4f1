"""Looks at onnxruntime, CUDA's libraries and the driver in a process of its own: they may print,
hang, or crash. `python -P -m inferctl.doctor.probe` writes a JSON object a line for each step."""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from inferctl.doctor.elf import needed_libraries
from inferctl.engine.session import CUDA, Session
from inferctl.errors import InferctlError
from inferctl.settings import RuntimeSettings

DRIVER = "libcuda.so.1"
PROVIDER = "libonnxruntime_providers_cuda.so"
# What the provider opens by itself, once a model needs it: cuFFT has a number of its own.
LAZY = ("libcudnn.so.9", "libnvrtc.so.{cuda}", "libcufft.so.{cufft}")
# y = Identity(x), one float32 each: the smallest graph there is.
GRAPH = bytes.fromhex(
    "080a3a3b0a100a017812017922084964656e74697479120570726f6265"
    "5a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a001011"
)


def main() -> None:
    """Tell what each step finds, as far as they go."""
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(2, 1)  # what else prints, native code too, is no finding
        for found in _steps():
            told.write(json.dumps(found) + "\n")
            told.flush()


def _steps() -> Iterator[dict[str, Any]]:
    yield _onnxruntime()
    if CUDA not in ort.get_available_providers():
        yield {"driver": _driver()}
        return
    ort.preload_dlls()
    provider = Path(ort.__file__).parent / "capi" / PROVIDER
    missing = [name for name in _wanted(provider) if not _loads(name)]
    yield {"missing": [name for name in missing if name != DRIVER]}
    driver = _driver()
    yield {"driver": driver}
    if not missing and driver.get("devices"):
        yield {"session": _session()}


def _onnxruntime() -> dict[str, Any]:
    schemas = ort.capi.onnxruntime_pybind11_state.get_all_operator_schema()
    return {
        "version": ort.__version__,
        "cuda": getattr(ort, "cuda_version", "") or "",
        "providers": ort.get_available_providers(),
        "opset": max(schema.since_version for schema in schemas if not schema.domain),
    }


def _wanted(provider: Path) -> Sequence[str]:
    """What the provider cannot do without, first what it asks for when it is loaded."""
    cuda = int(str(ort.cuda_version).partition(".")[0] or 0)
    lazy = [name.format(cuda=cuda, cufft=cuda - 1) for name in LAZY]
    return [*needed_libraries(provider), *lazy] if provider.is_file() else lazy


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _driver() -> dict[str, Any]:
    """What the driver says: the newest CUDA it runs, its devices, or why it does not work."""
    try:
        driver = ctypes.CDLL(DRIVER)
        version, count, text = ctypes.c_int(), ctypes.c_int(), ctypes.c_char_p()
        driver.cuDriverGetVersion(ctypes.byref(version))
        said = {"cuda": f"{version.value // 1000}.{version.value % 1000 // 10}"}
        if code := driver.cuInit(0):
            driver.cuGetErrorString(code, ctypes.byref(text))
            reason = (text.value or b"").decode() or "no reason given"
            return {**said, "error": f"cuInit: {reason} ({code})"}
        driver.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError) as error:
        return {"error": str(error)}
    return {**said, "devices": count.value}


def _session() -> str:
    """Why CUDA cannot run a graph; nothing if it can."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(GRAPH)
        file.flush()
        try:
            session = Session(Path(file.name), RuntimeSettings(device="cuda"), threads=1)
            session.run({"x": np.ones(1, dtype=np.float32)})
        except InferctlError as error:
            return str(error)
    return ""


if __name__ == "__main__":
    main()
