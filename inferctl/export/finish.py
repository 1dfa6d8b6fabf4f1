"""The end of every way to a bundle: verified, brought to its precision, described, published."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from inferctl import __version__
from inferctl.bundles.manifest import (
    CARD_FILE,
    MANIFEST_FILE,
    REPORT_FILE,
    TOKENIZER_FILE,
    Buckets,
    Checkpoint,
    File,
    Manifest,
    Precision,
)
from inferctl.export.compare import Tolerance
from inferctl.export.drawn import Graph
from inferctl.export.loaded import ModelFacts
from inferctl.export.onnxfile import published_files
from inferctl.export.precision import Conversion, convert
from inferctl.export.publish import check_target, next_version, publish
from inferctl.export.report import card, report_json
from inferctl.export.request import BundleRequest
from inferctl.export.verify import Check, references, verify_graph


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A published bundle: `path` is `<output>/<name>/<version>`, `seconds` is by stage.

    The weights of `loaded` were given back: its module cannot be run any more.
    """

    path: Path
    manifest: Manifest
    loaded: ModelFacts
    checks: tuple[Check, ...]
    seconds: dict[str, float]
    conversion: Conversion | None = None


@dataclass(slots=True)
class Clock:
    """Announces each stage and keeps how long it took."""

    on_stage: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce and time what is done inside."""
        self.on_stage(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def choose_target(request: BundleRequest, name: str) -> Path:
    """The bundle's folder, checked to be free; raises OutputError when it is not."""
    folder = request.output / name
    target = folder / str(request.version or next_version(folder))
    check_target(target, force=request.force)
    return target


def finish(
    graph: Graph, loaded: ModelFacts, request: BundleRequest, target: Path, clock: Clock
) -> ExportResult:
    """Verify a graph, convert it if another precision is asked for, and publish the bundle.

    Raises VerificationError, UsageError or OutputError; then nothing was published.
    """
    tolerance = Tolerance(request.atol, request.rtol)
    with clock.stage("verify"):
        expected = references(graph, loaded)
        # Before ONNX Runtime takes memory for the same weights.
        graph.release()
        checks = verify_graph(graph, loaded, expected, tolerance)
    conversion = None
    if request.precision != "fp32":
        with clock.stage("convert"):
            conversion = convert(graph, loaded, request)
        graph = replace(graph, file=conversion.file)
    with clock.stage("publish"):
        files = _files(request, graph.file, loaded, conversion)
        precision = conversion.precision if conversion else "fp32"
        manifest = describe(graph, loaded, int(target.name), files, precision)
        document = manifest.model_dump_json(indent=2, exclude_none=True) + "\n"
        files[MANIFEST_FILE] = document.encode()
        # Not in the manifest: two exports of one checkpoint differ in it, and in nothing else.
        files[REPORT_FILE] = report_json(
            manifest, loaded, checks, tolerance, clock.seconds, conversion
        )
        publish(target, files, force=request.force)
    return ExportResult(target, manifest, loaded, checks, clock.seconds, conversion)


def _files(
    request: BundleRequest, graph: Path, loaded: ModelFacts, conversion: Conversion | None
) -> dict[str, bytes | Path]:
    """What a server or a person needs of a bundle."""
    return {
        **published_files(graph, request.data_over_bytes),
        **({TOKENIZER_FILE: loaded.tokenizer} if loaded.tokenizer is not None else {}),
        **({CARD_FILE: card(loaded.card, conversion)} if loaded.card is not None else {}),
    }


def describe(
    graph: Graph,
    loaded: ModelFacts,
    version: int,
    files: Mapping[str, bytes | Path],
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
        checkpoint=Checkpoint(sha256=loaded.sha256, shards=dict(loaded.shards) or None),
        files={name: _file(content) for name, content in files.items()},
    )


def token_buckets(max_tokens: int) -> tuple[int, ...]:
    """Powers of two from 16 up, below `max_tokens`, and `max_tokens` itself."""
    powers = (2**exponent for exponent in range(4, 14))
    return (*(power for power in powers if power < max_tokens), max_tokens)


def _file(data: bytes | Path) -> File:
    if isinstance(data, Path):
        return File.of(data)
    return File(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
