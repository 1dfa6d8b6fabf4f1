"""What is written and shown of an export: `report.json`, and a table for the terminal."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import onnx
from rich.table import Table
from rich.text import Text

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, File, Manifest
from inferctl.export.agreement import LIMITS
from inferctl.export.compare import Tolerance
from inferctl.export.loaded import ModelFacts
from inferctl.export.precision import Conversion
from inferctl.export.runtime import RUNTIME_VERSION
from inferctl.export.verify import Check

# What a graph is compared with, in a sentence.
_ORIGINS: dict[str, str] = {"pytorch": "PyTorch", "the imported file": "the imported file"}


def report_json(
    manifest: Manifest,
    loaded: ModelFacts,
    checks: tuple[Check, ...],
    tolerance: Tolerance,
    seconds: Mapping[str, float],
    conversion: Conversion | None = None,
) -> bytes:
    """The content of `report.json`: what was compared, with what, when, and how long it took.

    `manifest` is the published one, whose graph with a `conversion` is not that of the checks.
    Names the checkpoint's file, never its folder: a bundle travels.
    """
    drawn = any(check.against == "pytorch" for check in checks)
    document = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": {
            "file": loaded.weights.name,
            "sha256": loaded.sha256,
            "parameters": loaded.parameters,
            "notes": list(loaded.notes),
        },
        "labels": loaded.labels,
        "graph": _graph_entry(manifest.files),
        "precision": _precision_entry(conversion) if conversion else None,
        "normalisation": {"mean": loaded.mean, "std": loaded.std} if loaded.image else None,
        "tolerance": asdict(tolerance),
        "checks": [_check_entry(check) for check in checks],
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "versions": {
            "python": platform.python_version(),
            **({"torch": version("torch")} if drawn else {}),
            "onnx": onnx.__version__,
            "onnxruntime": RUNTIME_VERSION,
        },
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def card(text: bytes, conversion: Conversion | None) -> bytes:
    """The model's card; of another precision than the card speaks of, it says so at its end."""
    variant = conversion.variant if conversion else None
    if variant is None:
        return text
    words = f"This bundle runs in {variant.how}. Against fp32: {variant.agreement.sentence()}."
    return text.rstrip() + f"\n\n## Precision of this bundle\n\n{words}\n".encode()


def _graph_entry(files: Mapping[str, File]) -> dict[str, str]:
    entry = {"sha256": files[GRAPH_FILE].sha256}
    return entry | ({"data_sha256": files[DATA_FILE].sha256} if DATA_FILE in files else {})


def _precision_entry(conversion: Conversion) -> dict[str, object]:
    variant = conversion.variant
    return {
        "requested": conversion.requested,
        "chosen": conversion.precision,
        "how": variant.how if variant else "fp32",
        "fp32_graph_sha256": conversion.fp32_sha256,
        "max_drop": conversion.max_drop,
        "judged_on_real_data": conversion.judged_on_real_data,
        "limits": asdict(LIMITS[conversion.precision]),
        "against_fp32": variant.agreement.document() if variant else None,
        "kept_fp32": variant.kept_fp32 if variant else (),
        "speed": [asdict(speed) for speed in conversion.speeds],
        "refused": [{"variant": name, "reason": reason} for name, reason in conversion.refused],
        "warning": conversion.warning,
        "notes": conversion.notes,
    }


def _check_entry(check: Check) -> dict[str, object]:
    difference = check.difference
    return {
        "sample": check.sample,
        "against": check.against,
        "rows": check.rows,
        "tokens": check.tokens,
        "max_abs": difference.max_abs,
        "max_rel": difference.max_rel,
        "same_top": difference.same_top,
        "compared": difference.compared,
    }


def summary_table(
    path: Path,
    manifest: Manifest,
    loaded: ModelFacts,
    checks: tuple[Check, ...],
    seconds: Mapping[str, float],
    conversion: Conversion | None = None,
) -> Table:
    """The closing table of the command: what was made, and how well it agrees with its origin."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(path, manifest, loaded, checks, seconds):
        # `Text` keeps square brackets in labels and names from being read as markup.
        table.add_row(name, Text(value))
    for name, value in _precision_facts(conversion) if conversion else ():
        table.add_row(name, Text(value))
    return table


def _precision_facts(conversion: Conversion) -> list[tuple[str, str]]:
    """What the precision costs and gains against fp32, and what else was looked at."""
    facts = [("precision", conversion.variant.how if conversion.variant else "fp32")]
    if conversion.variant:
        facts.append(("against fp32", conversion.variant.agreement.sentence()))
    facts += [("speed", speed.sentence()) for speed in conversion.speeds]
    facts += [("refused", f"{name}: {reason}") for name, reason in conversion.refused]
    return facts + [("note", note) for note in conversion.notes]


def _facts(
    path: Path,
    manifest: Manifest,
    loaded: ModelFacts,
    checks: tuple[Check, ...],
    seconds: Mapping[str, float],
) -> list[tuple[str, str]]:
    facts = [
        ("bundle", str(path)),
        ("model", f"{manifest.name} version {manifest.version}, {manifest.task}"),
        ("labels", _labels(manifest.labels)),
        ("inputs", "; ".join(f"{t.name} {t.dtype} {_shape(t.shape)}" for t in manifest.inputs)),
        ("outputs", "; ".join(f"{t.name} {t.dtype} {_shape(t.shape)}" for t in manifest.outputs)),
        (
            "size",
            f"{_graph_size(manifest)}, {loaded.parameters:,} parameters",
        ),
        ("verified", _verified(checks)),
        ("time", ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())),
    ]
    if loaded.image:
        facts.insert(4, ("normalised", f"mean {loaded.mean}, std {loaded.std} of values in 0..1"))
    return facts + [("note", note) for note in loaded.notes]


def _graph_size(manifest: Manifest) -> str:
    size = _size(manifest.files[GRAPH_FILE].bytes)
    data = manifest.files.get(DATA_FILE)
    return size if data is None else f"{size}, and {_size(data.bytes)} of weights beside it"


def _size(count: int) -> str:
    return f"{count / 1e3:.1f} kB" if count < 100_000 else f"{count / 1e6:.1f} MB"


def _labels(labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:6])
    return shown if len(labels) <= 6 else f"{shown} … ({len(labels)})"


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(str(dim) for dim in shape) + "]"


def _verified(checks: tuple[Check, ...]) -> str:
    largest = max(check.difference.max_abs for check in checks if check.against in _ORIGINS)
    origin = next(_ORIGINS[check.against] for check in checks if check.against in _ORIGINS)
    return (
        f"{len(checks)} comparisons, largest difference to {origin} {largest:.1e}, "
        "every row the same alone as in its batch"
    )
