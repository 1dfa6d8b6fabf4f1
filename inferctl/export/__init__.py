"""Export: a checkpoint becomes a bundle whose graph was compared with PyTorch, or nothing at all.

Exporting needs the `export` extra (torch, onnx, transformers); serving never does. What needs it is
imported when it is first asked for: `inferctl check` uses the parts that do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from inferctl.export.request import ExportRequest

if TYPE_CHECKING:
    from inferctl.export.pipeline import ExportResult, export_bundle

__all__ = ["ExportRequest", "ExportResult", "export_bundle"]


def __getattr__(name: str) -> object:
    if name in ("ExportResult", "export_bundle"):
        return getattr(importlib.import_module("inferctl.export.pipeline"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
