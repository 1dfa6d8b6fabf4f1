"""Requests to import a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from inferctl.export.finish import ExportResult
from inferctl.export.imported.pipeline import import_bundle
from inferctl.export.imported.request import ImportRequest

from .graphs import save

Import = Callable[..., ExportResult]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Saves a graph as net.onnx and imports it; keywords are those of the request."""

    def run(model: onnx.ModelProto, **parts: object) -> ExportResult:
        path = save(model, tmp_path / "net.onnx")
        return import_bundle(ImportRequest(path, output=tmp_path / "models", **parts))  # type: ignore[arg-type]

    return run
