"""The way from a checkpoint to a bundle, stage by stage; a stage that fails ends it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from inferctl import __version__
from inferctl.bundles.manifest import (
    CARD_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    REPORT_FILE,
    TOKENIZER_FILE,
    Buckets,
    File,
    Manifest,
    Precision,
)
from inferctl.export.compare import Tolerance
from inferctl.export.described import load_described
from inferctl.export.graph import Graph, draw_graph
from inferctl.export.huggingface import load_huggingface
from inferctl.export.loaded import LoadedModel, name_from
from inferctl.export.pickled import check_pickle
from inferctl.export.precision import Conversion, convert
from inferctl.export.publish import check_target, next_version, publish
from inferctl.export.report import card, report_json
from inferctl.export.request import ExportRequest
from inferctl.export.sharded import index_of
from inferctl.export.sniff import Kind, sniff
from inferctl.export.verify import Check, verify_graph

# "convert" only where another precision than fp32 is asked for.
STAGES = ("load", "export", "verify", "convert", "publish")


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A published bundle: `path` is `<output>/<name>/<version>`, `seconds` is by stage."""

    path: Path
    manifest: Manifest
    loaded: LoadedModel
    checks: tuple[Check, ...]
    seconds: dict[str, float]
    conversion: Conversion | None = None


@dataclass(slots=True)
class _Clock:
    """Announces each stage and keeps how long it took."""

    on_stage: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.on_stage(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def export_bundle(
    request: ExportRequest, on_stage: Callable[[str], None] = lambda stage: None
) -> ExportResult:
    """Turn a checkpoint into a verified bundle; `on_stage` hears each of `STAGES` as it begins.

    Raises UsageError, CheckpointError, UntrustedCheckpoint, VerificationError or OutputError; then
    nothing was published.
    """
    clock = _Clock(on_stage)
    tolerance = Tolerance(request.atol, request.rtol)
    with clock.stage("load"):
        kind = sniff(request.checkpoint)
        # Before anything slow: the name does not depend on what the checkpoint holds.
        target = choose_target(request, request.name or name_from(request.checkpoint))
        loaded = load(request, kind)
    with clock.stage("export"):
        graph = draw_graph(loaded)
        loaded = replace(loaded, notes=loaded.notes + graph.notes)
    with clock.stage("verify"):
        checks = verify_graph(graph, loaded, tolerance)
    conversion = None
    if request.precision != "fp32":
        with clock.stage("convert"):
            conversion = convert(graph, loaded, request)
        graph = replace(graph, model=conversion.model)
    with clock.stage("publish"):
        files = {
            GRAPH_FILE: graph.model,
            REPORT_FILE: report_json(graph, loaded, checks, tolerance, clock.seconds, conversion),
            **({TOKENIZER_FILE: loaded.tokenizer} if loaded.tokenizer is not None else {}),
            **({CARD_FILE: card(loaded.card, conversion)} if loaded.card is not None else {}),
        }
        precision = conversion.precision if conversion else "fp32"
        manifest = describe(graph, loaded, int(target.name), files, precision)
        document = manifest.model_dump_json(indent=2, exclude_none=True) + "\n"
        publish(target, {**files, MANIFEST_FILE: document.encode()}, force=request.force)
    return ExportResult(target, manifest, loaded, checks, clock.seconds, conversion)


def load(request: ExportRequest, kind: Kind) -> LoadedModel:
    """Load what `sniff` found; raises CheckpointError or UsageError."""
    if request.trust_pickle:
        check_pickle(kind)
    if kind is Kind.HF_DIRECTORY:
        if request.factory is None or not index_of(request.checkpoint).is_file():
            return load_huggingface(request)
        # The weights are safetensors like any other; the factory says what they belong to.
        kind = Kind.SHARDED
    return load_described(request, kind)


def choose_target(request: ExportRequest, name: str) -> Path:
    """The bundle's folder, checked to be free; raises OutputError when it is not."""
    folder = request.output / name
    target = folder / str(request.version or next_version(folder))
    check_target(target, force=request.force)
    return target


def describe(
    graph: Graph,
    loaded: LoadedModel,
    version: int,
    files: dict[str, bytes],
    precision: Precision = "fp32",
) -> Manifest:
    """Write down what a server must know of the bundle."""
    return Manifest(
        name=loaded.name,
        version=version,
        task=loaded.task,
        inputs=graph.inputs,
        outputs=graph.outputs,
        labels=loaded.labels,
        image=loaded.image,
        text=loaded.text,
        buckets=Buckets(tokens=token_buckets(loaded.text.max_tokens) if loaded.text else ()),
        precision=precision,
        opset=graph.opset,
        producer=f"inferctl {__version__}",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files={name: _file(data) for name, data in files.items()},
    )


def token_buckets(max_tokens: int) -> tuple[int, ...]:
    """Powers of two from 16 up, below `max_tokens`, and `max_tokens` itself."""
    powers = (2**exponent for exponent in range(4, 14))
    return (*(power for power in powers if power < max_tokens), max_tokens)


def _file(data: bytes) -> File:
    return File(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
