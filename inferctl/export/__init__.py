"""Export: a checkpoint becomes a bundle whose graph was compared with PyTorch, or nothing at all.

Exporting needs the `export` extra (torch, onnx, transformers); serving never does. What needs it is
imported when it is first asked for: `inferctl check` uses the parts that do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from inferctl.export.request import ExportRequest

if TYPE_CHECKING:
    from inferctl.export.finish import ExportResult
    from inferctl.export.pipeline import export_bundle

__all__ = ["ExportRequest", "ExportResult", "export_bundle"]

_MODULES = {
    "ExportResult": "inferctl.export.finish",
    "export_bundle": "inferctl.export.pipeline",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
