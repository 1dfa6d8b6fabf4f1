"""What a person asks for; checked here, before anything slow is imported or read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inferctl.bundles.manifest import MAX_GRAPH_BYTES, NAME_PATTERN, Precision, Task
from inferctl.errors import UsageError
from inferctl.export.agreement import MAX_DROP

MAX_TOKENS_LIMIT = 8192
MAX_IMAGE_SIDE = 16_384
PRECISIONS = ("fp32", "fp16", "int8", "auto")
TARGETS = ("cpu", "cuda")
# What torch's exporter writes and ONNX Runtime loads.
OPSETS = range(18, 24)


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What an export and an import can be told; `None` means: find out from the checkpoint.

    `image_size` is height, width in pixels. `mean` and `std` are per channel (R, G, B) of values in
    0..1. `atol` and `rtol` bound |graph - origin| by `atol + rtol * |origin|`. Of another precision
    than fp32, `max_drop` is the share of rows that may answer otherwise, and `target` the device
    that `auto` chooses for. Weights of more than `data_over_bytes` go into a file beside the graph.
    Raises UsageError when a value cannot be meant.
    """

    checkpoint: Path
    name: str | None = None
    version: int | None = None
    task: Task | None = None
    labels: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tokenizer: Path | None = None
    max_tokens: int | None = None
    card: Path | None = None
    output: Path = Path("models")
    force: bool = False
    atol: float = 1e-4
    rtol: float = 1e-3
    precision: Precision | Literal["auto"] = "fp32"
    target: Literal["cpu", "cuda"] = "cpu"
    calibration_data: Path | None = None
    max_drop: float = MAX_DROP
    data_over_bytes: int = MAX_GRAPH_BYTES

    def __post_init__(self) -> None:
        _check_naming(self)
        _check_precision(self)
        _check_inputs(self)
        if not all(math.isfinite(value) and value >= 0 for value in (self.atol, self.rtol)):
            raise UsageError(
                "a tolerance must be a finite number from 0 up", where="--atol, --rtol"
            )


@dataclass(frozen=True, slots=True)
class ExportRequest(BundleRequest):
    """Everything `inferctl export` was told.

    `trust_pickle` runs the code in a pickle. `opset` is that of ONNX's own operators.
    """

    factory: str | None = None
    weights_key: str | None = None
    trust_pickle: bool = False
    opset: int | None = None

    def __post_init__(self) -> None:
        # A class with slots is made twice, and `super()` knows the first alone.
        BundleRequest.__post_init__(self)
        if self.task == "tensor":
            raise UsageError(
                "a model of numbers cannot be exported: no flag says what its inputs are",
                where="--task",
                hint="write it with torch.onnx.export, then inferctl import FILE --task tensor",
            )
        if self.opset is not None and self.opset not in OPSETS:
            raise UsageError(
                f"graphs are not written in opset {self.opset}",
                where="--opset",
                hint=f"use {OPSETS[0]} to {OPSETS[-1]}, or leave it out",
            )


def _check_naming(request: BundleRequest) -> None:
    if request.name is not None and not re.fullmatch(NAME_PATTERN, request.name):
        raise UsageError(
            f"the name {request.name!r} cannot be used",
            where="--name",
            hint="use lower-case letters, digits, '.', '_' and '-', at most 64",
        )
    if request.version is not None and request.version < 1:
        raise UsageError("a version is a whole number from 1 up", where="--version")
    if not all(label.strip() for label in request.labels):
        raise UsageError("a label is empty", where="--labels")
    if len(set(request.labels)) != len(request.labels):
        raise UsageError("a label is named twice", where="--labels")


def _check_inputs(request: BundleRequest) -> None:
    size = request.image_size or (1, 1)
    if not all(1 <= side <= MAX_IMAGE_SIDE for side in size):
        raise UsageError(f"a side must be 1 to {MAX_IMAGE_SIDE} pixels", where="--image-size")
    if not all(math.isfinite(value) for value in request.mean):
        raise UsageError("a mean must be a finite number", where="--mean")
    if not all(math.isfinite(value) and value > 0 for value in request.std):
        raise UsageError("a standard deviation must be a finite number above 0", where="--std")
    if request.max_tokens is not None and not 2 <= request.max_tokens <= MAX_TOKENS_LIMIT:
        raise UsageError(f"a text is 2 to {MAX_TOKENS_LIMIT} tokens long", where="--max-tokens")


def _check_precision(request: BundleRequest) -> None:
    if str(request.precision) == "bf16":
        raise UsageError(
            "bf16 cannot be exported: ONNX Runtime on a CPU, where every variant is judged, has no "
            "MatMul, Gemm or Conv in bfloat16",
            where="--precision",
            hint="use fp16",
        )
    for flag, value, known in (
        ("--precision", request.precision, PRECISIONS),
        ("--target", request.target, TARGETS),
    ):
        if value not in known:
            raise UsageError(f"{value!r} is unknown", where=flag, hint=f"one of {', '.join(known)}")
    if request.calibration_data is not None and request.precision == "fp32":
        raise UsageError(
            "fp32 needs no calibration",
            where="--calibration-data",
            hint="pass --precision int8 or auto, or leave it out",
        )
    if request.data_over_bytes < 0:
        raise UsageError("a size is a number from 0 up", where="--external-data-mb")
    if not 0 <= request.max_drop <= 1:
        raise UsageError("a share is a number from 0 to 1", where="--max-drop")
