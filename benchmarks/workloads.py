"""The three workloads and their int8 variants: `python -m benchmarks.workloads [--out DIR]`.

W1 `vision` is a ResNet-18 on base64 JPEGs, W2 `text` a MiniLM on texts of mixed length, W3 `mlp` a
graph so small that only the server's own work is left. A workload is a bundle, request bodies and
the answers that plain onnxruntime gives; all are seeded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.bodies import Body, tensor_bodies, text_bodies, vision_bodies
from benchmarks.command import FOLDER, run
from inferctl import __version__
from inferctl.bundles.manifest import MANIFEST_FILE, File, Manifest
from inferctl.errors import UsageError

LABELS = 1000
IMAGE_SIDE = 224
MAX_TOKENS = 128
TOKEN_BUCKETS = (16, 32, 48, 64, 96, 128)
VOCABULARY = 30_522
CREATED_AT = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Workload:
    """`base` names the workload whose bodies it shares; `tolerance` is for scores."""

    name: str
    base: str
    bodies: Callable[[], list[Body]]
    tolerance: float = 2e-3

    @property
    def labels(self) -> int:
        """How many labels its answers choose from."""
        return len(PARTS[self.base]["labels"])


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("vision", "vision", vision_bodies),
        Workload("vision-int8", "vision", vision_bodies),
        Workload("text", "text", text_bodies),
        # Dynamic int8 scales activations by their batch: scores move with the company they are in.
        Workload("text-int8", "text", text_bodies, tolerance=0.2),
        Workload("mlp", "mlp", tensor_bodies),
    )
}

# Each base workload's part of the manifest.
PARTS: dict[str, dict[str, Any]] = {
    "vision": {
        "task": "image-classification",
        "inputs": [
            {"name": "image", "dtype": "uint8", "shape": ["rows", IMAGE_SIDE, IMAGE_SIDE, 3]}
        ],
        "outputs": [{"name": "scores", "dtype": "float32", "shape": ["rows", LABELS]}],
        "labels": [f"class_{number}" for number in range(LABELS)],
        "image": {"height": IMAGE_SIDE, "width": IMAGE_SIDE},
    },
    "text": {
        "task": "text-classification",
        "inputs": [
            {"name": name, "dtype": "int64", "shape": ["rows", "tokens"]}
            for name in ("input_ids", "attention_mask")
        ],
        "outputs": [{"name": "scores", "dtype": "float32", "shape": ["rows", 2]}],
        "labels": ["negative", "positive"],
        "text": {"max_tokens": MAX_TOKENS, "pad_id": 0, "vocab_size": VOCABULARY},
        "buckets": {"tokens": TOKEN_BUCKETS},
    },
    "mlp": {
        "task": "tensor",
        "inputs": [{"name": "input", "dtype": "float32", "shape": ["rows", 4]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["rows", 3]}],
        "labels": [],
    },
}


@dataclass(frozen=True, slots=True)
class Assets:
    """Where a folder of made workloads keeps what."""

    folder: Path

    def bundle(self, name: str) -> Path:
        """The bundle of a workload."""
        return self.folder / "models" / name / "1"

    def bodies_file(self, name: str) -> Path:
        """Request bodies, one JSON document a line; int8 variants share those of fp32."""
        return self.folder / "bodies" / f"{WORKLOADS[name].base}.jsonl"

    def answers_file(self, name: str) -> Path:
        """The expected answers, in the order of the bodies."""
        return self.folder / "answers" / f"{name}.jsonl"

    def bodies(self, name: str) -> list[bytes]:
        """Request bodies as they are sent. Raises UsageError when they are not made yet."""
        return _lines(self.bodies_file(name))

    def answers(self, name: str) -> list[dict[str, Any]]:
        """Expected answers. Raises UsageError when they are not made yet."""
        return [json.loads(line) for line in _lines(self.answers_file(name))]


def workload(name: str) -> Workload:
    """A workload by name. Raises UsageError."""
    if name not in WORKLOADS:
        raise UsageError(
            f"no workload is called {name!r}",
            where="--workload",
            hint=f"known are {', '.join(WORKLOADS)}",
        )
    return WORKLOADS[name]


def manifest_of(name: str, files: Mapping[str, bytes], opset: int) -> Manifest:
    """The manifest of a workload's bundle, version 1."""
    return Manifest.model_validate(
        {
            "name": name,
            "version": 1,
            **PARTS[WORKLOADS[name].base],
            "precision": "fp32" if name == WORKLOADS[name].base else "int8",
            "opset": opset,
            "producer": f"inferctl {__version__} benchmarks",
            "created_at": CREATED_AT,
            "files": {file: measured_file(data) for file, data in files.items()},
        }
    )


def bundle_files(name: str, files: Mapping[str, bytes], opset: int) -> dict[str, bytes]:
    """A bundle's files with their manifest among them."""
    document = manifest_of(name, files, opset).model_dump_json(indent=2, exclude_none=True)
    return {**files, MANIFEST_FILE: document.encode() + b"\n"}


def main(
    out: Annotated[Path, typer.Option(help="Folder for models, bodies and answers")] = FOLDER,
    name: Annotated[
        list[str] | None, typer.Option("--workload", help="Only these [default: all]")
    ] = None,
) -> None:
    """Make the workloads, and say how far int8 is from fp32."""
    chosen = [workload(one) for one in name or WORKLOADS]
    # torch and transformers are needed to make workloads, not to measure with them.
    from benchmarks.assets import agreement_table, make  # noqa: PLC0415

    for one in chosen:
        make(one, Assets(out))
    Console().print(agreement_table(Assets(out)))


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UsageError(
            "the workload is not made yet",
            where=str(path),
            hint="make it with `python -m benchmarks.workloads`",
        ) from None


def measured_file(data: bytes) -> File:
    """What a manifest says of a file."""
    return File(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    run(main)
