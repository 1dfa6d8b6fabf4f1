"""Export: a checkpoint becomes a bundle whose graph was compared with PyTorch, or nothing at all.

Importing this needs the `export` extra (torch, onnx, transformers); serving never does.
"""

from __future__ import annotations

from inferctl.export.pipeline import ExportResult, export_bundle
from inferctl.export.request import ExportRequest

__all__ = ["ExportRequest", "ExportResult", "export_bundle"]
