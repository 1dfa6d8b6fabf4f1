"""The way from a checkpoint to a bundle, stage by stage; a stage that fails ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from inferctl.export.described import load_described
from inferctl.export.finish import Clock, ExportResult, choose_target, finish
from inferctl.export.graph import draw_graph
from inferctl.export.loaded import LoadedModel, name_from
from inferctl.export.pickled import check_pickle
from inferctl.export.publish import workshop
from inferctl.export.request import ExportRequest
from inferctl.export.sharded import index_of
from inferctl.export.sniff import Kind, sniff

# "convert" only where another precision than fp32 is asked for.
STAGES = ("load", "export", "verify", "convert", "publish")


def export_bundle(
    request: ExportRequest, on_stage: Callable[[str], None] = lambda stage: None
) -> ExportResult:
    """Turn a checkpoint into a verified bundle; `on_stage` hears each of `STAGES` as it begins.

    Raises UsageError, CheckpointError, UntrustedCheckpoint, VerificationError or OutputError; then
    nothing was published.
    """
    clock = Clock(on_stage)
    with clock.stage("load"):
        kind = sniff(request.checkpoint)
        # Before anything slow: the name does not depend on what the checkpoint holds.
        target = choose_target(request, request.name or name_from(request.checkpoint))
        loaded = load(request, kind)
    with workshop(target) as folder:
        with clock.stage("export"):
            graph = draw_graph(loaded, folder / "fp32", request.opset)
            loaded = replace(loaded, notes=loaded.notes + graph.notes)
        return finish(graph, loaded, request, target, clock)


def load(request: ExportRequest, kind: Kind) -> LoadedModel:
    """Load what `sniff` found; raises CheckpointError or UsageError."""
    if request.trust_pickle:
        check_pickle(kind)
    if kind is Kind.HF_DIRECTORY:
        if request.factory is None or not index_of(request.checkpoint).is_file():
            # transformers take a second and 40 MB, which no other checkpoint needs.
            from inferctl.export.huggingface.directory import load_huggingface  # noqa: PLC0415

            return load_huggingface(request)
        # The weights are safetensors like any other; the factory says what they belong to.
        kind = Kind.SHARDED
    return load_described(request, kind)
