"""Looks at onnxruntime, CUDA's libraries and the driver in a process of its own: they may print,
hang, or crash. `python -P -m inferctl.doctor.probe` writes a JSON object a line for each step."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from inferctl.cuda.driver import ask_driver
from inferctl.cuda.libraries import PROVIDER, missing_libraries
from inferctl.engine.placement import CAPI, CUDA
from inferctl.engine.session import Session
from inferctl.errors import InferctlError
from inferctl.settings import RuntimeSettings

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
        yield {"driver": asdict(ask_driver())}
        return
    ort.preload_dlls()
    missing = missing_libraries(CAPI / PROVIDER, str(ort.cuda_version))
    yield {"missing": missing}
    driver = ask_driver()
    yield {"driver": asdict(driver)}
    if not missing and driver.devices:
        yield {"session": _session()}


def _onnxruntime() -> dict[str, Any]:
    schemas = ort.capi.onnxruntime_pybind11_state.get_all_operator_schema()
    return {
        "version": ort.__version__,
        "cuda": getattr(ort, "cuda_version", "") or "",
        "providers": ort.get_available_providers(),
        "opset": max(schema.since_version for schema in schemas if not schema.domain),
    }


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
