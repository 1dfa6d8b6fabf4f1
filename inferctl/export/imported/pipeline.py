"""The way from an ONNX file to a bundle, stage by stage; a stage that fails ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inferctl.errors import VerificationError
from inferctl.export.drawn import Graph
from inferctl.export.finish import Clock, ExportResult, choose_target, finish
from inferctl.export.imported.axes import DYNAMIC_HINT, FREED
from inferctl.export.imported.model import ImportedModel, describe_model, model_name
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.rewrite import rewrite
from inferctl.export.imported.source import read_onnx
from inferctl.export.publish import workshop


def import_bundle(
    request: ImportRequest, on_stage: Callable[[str], None] = lambda stage: None
) -> ExportResult:
    """Turn an ONNX file into a verified bundle; `on_stage` hears the stages of an export.

    Raises UsageError, CheckpointError, VerificationError or OutputError; then nothing was
    published.
    """
    clock = Clock(on_stage)
    with clock.stage("load"):
        target = choose_target(request, request.name or model_name(request.checkpoint, request))
        model = describe_model(read_onnx(request.checkpoint), request)
    with workshop(target) as folder:
        with clock.stage("export"):
            graph = rewrite(model, request, folder / "fp32")
            model = replace(model, notes=model.notes + graph.notes)
        return _finished(graph, model, request, target, clock)


def _finished(
    graph: Graph, model: ImportedModel, request: ImportRequest, target: Path, clock: Clock
) -> ExportResult:
    """As `finish`; a failure that the freed rows may have caused says so."""
    try:
        return finish(graph, model, request, target, clock)
    except VerificationError as error:
        if FREED not in graph.notes or "verify" in clock.seconds:
            raise
        # What was made for one row may do for one alone.
        raise VerificationError(
            f"its batch is fixed at 1 and cannot be freed: {error.what}",
            where=error.where,
            hint=DYNAMIC_HINT,
        ) from None
