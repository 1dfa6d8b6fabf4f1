"""What onnxruntime's TensorRT provider is told of a model: shapes, precision, a folder for engines.

An engine takes minutes to build. It is good for one model, and for the versions and the GPU that it
was built with: all of them are in the name of its folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, Manifest
from inferctl.cuda.driver import name_of
from inferctl.cuda.lack import Lack
from inferctl.cuda.tensorrt import (
    PROVIDER,
    lack_of_tensorrt,
    missing_tensorrt,
    tensorrt_libraries,
    version_of_tensorrt,
)
from inferctl.settings import RuntimeSettings

TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True, slots=True)
class TensorRt:
    """Of one model. `sha256` is its graph's, with its weights where those are apart; `shapes` are
    the least, the usual and the largest ones of all its inputs, as the provider wants them."""

    sha256: str
    shapes: tuple[str, str, str]
    is_half: bool

    @classmethod
    def of(cls, manifest: Manifest) -> TensorRt:
        """By its manifest."""
        buckets = manifest.buckets
        lengths: Sequence[int] = buckets.tokens or (1,)
        usual = lengths[(len(lengths) - 1) // 2]
        largest = buckets.rows[-1]
        shapes = (
            _shapes(manifest, buckets.rows[0], lengths[0]),
            _shapes(manifest, largest, usual),
            _shapes(manifest, largest, lengths[-1]),
        )
        return cls(_sha256(manifest), shapes, manifest.precision == "fp16")


class Build(NamedTuple):
    """onnxruntime's: its version, the CUDA that it is for, and where its libraries are."""

    version: str
    cuda: str
    folder: Path


def provider_of(
    model: TensorRt, runtime: RuntimeSettings, number: int, build: Build
) -> tuple[str, dict[str, str]] | Lack:
    """The provider and its options, for CUDA's device of that number; or what is missing."""
    libraries = tensorrt_libraries(build.folder / PROVIDER)
    if lack := lack_of_tensorrt(missing_tensorrt(libraries), build.cuda):
        return lack
    parts = [
        model.sha256,
        f"onnxruntime-{build.version}",
        f"tensorrt-{version_of_tensorrt(libraries) or 'unknown'}",
        name_of(number) or "unknown",
        *(["tf32"] if runtime.tf32 else []),  # an engine has it built in
    ]
    folder = Path(runtime.tensorrt_cache) / re.sub(r"[^\w.-]+", "-", "_".join(parts))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return Lack(
            f"TensorRT's engines cannot be kept in {runtime.tensorrt_cache}: {error.strerror}",
            "set runtime.tensorrt_cache to a folder that can be written",
        )
    return TENSORRT, _options(model, number, str(folder))


def _options(model: TensorRt, number: int, folder: str) -> dict[str, str]:
    least, usual, most = model.shapes
    return {
        "device_id": str(number),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_fp16_enable": str(int(model.is_half)),
        # All three or none: without them each new shape would build the engine anew.
        "trt_profile_min_shapes": least,
        "trt_profile_opt_shapes": usual,
        "trt_profile_max_shapes": most,
    }


def _shapes(manifest: Manifest, rows: int, tokens: int) -> str:
    """As `image:1x224x224x3,other:1x4`."""
    return ",".join(
        f"{tensor.name}:{'x'.join(map(str, (rows, *tensor.row_shape(tokens))))}"
        for tensor in manifest.inputs
    )


def _sha256(manifest: Manifest) -> str:
    graph, data = (manifest.files.get(name) for name in (GRAPH_FILE, DATA_FILE))
    if not data:
        return graph.sha256 if graph else ""
    return hashlib.sha256(f"{graph and graph.sha256} {data.sha256}".encode()).hexdigest()
