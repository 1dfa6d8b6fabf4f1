"""Other precisions of a verified graph: made, compared with fp32 row by row, timed, chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inferctl.bundles.manifest import Precision
from inferctl.errors import VerificationError
from inferctl.export.agreement import LIMITS, Agreement, Row, check_agreement, fault, summarise
from inferctl.export.compare import Answers
from inferctl.export.drawn import Graph
from inferctl.export.evidence import Evidence, gather
from inferctl.export.half import half_precision
from inferctl.export.judge import Judge
from inferctl.export.loaded import ModelFacts
from inferctl.export.onnxfile import published_sha256
from inferctl.export.quantise import dynamic_int8, static_int8
from inferctl.export.request import BundleRequest
from inferctl.export.runtime import Model
from inferctl.export.speed import Speed, measure

# A variant that is not faster by this factor, in every batch size, is not worth its errors.
MIN_GAIN = 1.1
# Of variants that are not even tried, with what was measured of them once.
SLOWER = (
    ("int8 with S8 activations", "slower than fp32: 12.1 against 9.3 ms (ResNet-18, one row)"),
    ("dynamic int8 of convolutions", "slower than fp32: 12.0 against 9.3 ms (ResNet-18, one row)"),
)
_FP16_ON_CPU = ("fp16", "no faster than fp32 on a CPU: only the file is half as large")


@dataclass(frozen=True, slots=True)
class Variant:
    """A graph in another precision, `agreement` being that with fp32."""

    precision: Precision
    how: str
    file: Path
    agreement: Agreement
    notes: tuple[str, ...] = ()
    kept_fp32: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of `--precision`: the graph to publish, and why this one.

    `variant` is None where fp32 was chosen; `refused` are variants with their reasons.
    """

    requested: str
    precision: Precision
    file: Path
    fp32_sha256: str
    max_drop: float
    judged_on_real_data: bool
    variant: Variant | None
    speeds: tuple[Speed, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """That what was asked for is slower than fp32 here, with the numbers; else None.

        fp16 is made for a GPU, and a CPU's speed says nothing of it.
        """
        if self.precision != "int8":
            return None
        slower = [speed for speed in self.speeds if speed.gain("int8", "fp32") < 1]
        told = "; ".join(speed.sentence() for speed in slower)
        return f"int8 is slower than fp32 on this machine: {told}" if slower else None


@dataclass(frozen=True, slots=True)
class _Source:
    """The fp32 graph, and what is needed to make and judge a variant of it.

    `expected` are its answers to the evidence: while a variant is judged, the graph itself is not
    held in memory.
    """

    graph: Graph
    loaded: ModelFacts
    evidence: Evidence
    expected: tuple[Answers, ...]
    max_drop: float

    def folder(self, precision: Precision) -> Path:
        """Where a variant is written, beside the folder of the fp32 graph."""
        return self.graph.file.parent.with_name(precision)


def convert(graph: Graph, loaded: ModelFacts, request: BundleRequest) -> Conversion:
    """Make what `request.precision` asks for from a graph that was verified in fp32.

    Raises VerificationError naming the worst sample when the variant answers otherwise than fp32
    in more than `request.max_drop` of the rows, or gives NaN; UsageError for unusable pictures.
    """
    evidence = gather(loaded, request)
    expected = _answers(graph, loaded, evidence)
    source = _Source(graph, loaded, evidence, expected, request.max_drop)
    if request.precision == "auto":
        return _chosen(source, request)
    variant = _int8(source) if request.precision == "int8" else _fp16(source)
    return _conversion(source, request, variant, _timed(source, variant))


def choose(candidate: Variant, speeds: Sequence[Speed], max_drop: float) -> str | None:
    """Why a candidate is not to be taken over fp32; None when it is."""
    problem = fault(candidate.agreement, LIMITS[candidate.precision], max_drop)
    if problem is not None:
        return problem
    gains = {speed.rows: speed.gain(candidate.precision, "fp32") for speed in speeds}
    slow = min(gains, key=lambda rows: gains[rows])
    if gains[slow] < MIN_GAIN:
        return (
            f"{gains[slow]:.2f} x as fast as fp32 in batches of {slow}, "
            f"and less than {MIN_GAIN} x is not worth its errors"
        )
    return None


def _chosen(source: _Source, request: BundleRequest) -> Conversion:
    """`auto`: the fastest that stays inside the limits; for a GPU by rule, for none is measured."""
    on_cpu = request.target == "cpu"
    refused = [_FP16_ON_CPU, *(SLOWER if source.loaded.image else ())] if on_cpu else []
    try:
        variant = _int8(source) if on_cpu else _fp16(source)
    except VerificationError as error:
        refused.insert(0, ("int8" if on_cpu else "fp16", str(error)))
        return _conversion(source, request, None, (), tuple(refused))
    if not on_cpu:
        note = "fp16 was chosen by rule for a GPU; its speed there was not measured"
        return _conversion(source, request, variant, (), notes=(note,))
    speeds = _timed(source, variant)
    reason = choose(variant, speeds, request.max_drop)
    if reason is None:
        return _conversion(source, request, variant, speeds, tuple(refused))
    refused.insert(0, (variant.how, reason))
    return _conversion(source, request, None, speeds, tuple(refused))


def _conversion(
    source: _Source,
    request: BundleRequest,
    variant: Variant | None,
    speeds: tuple[Speed, ...] = (),
    refused: tuple[tuple[str, str], ...] = (),
    notes: tuple[str, ...] = (),
) -> Conversion:
    return Conversion(
        requested=request.precision,
        precision=variant.precision if variant else "fp32",
        file=variant.file if variant else source.graph.file,
        fp32_sha256=published_sha256(source.graph.file, request.data_over_bytes),
        max_drop=request.max_drop,
        judged_on_real_data=source.evidence.real,
        variant=variant,
        speeds=speeds,
        refused=refused,
        notes=notes + (variant.notes if variant else ()),
    )


def _int8(source: _Source) -> Variant:
    evidence, fp32 = source.evidence, source.graph.file
    folder = source.folder("int8")
    notes = (evidence.note,) if evidence.note else ()
    if source.loaded.image is None:
        file = dynamic_int8(fp32, folder)
        return Variant("int8", "int8, dynamic", file, _judge(source, file, "int8"), notes)
    file = static_int8(
        fp32,
        folder,
        source.graph.inputs[0].name,
        evidence.calibration,
        float_predictions=source.loaded.task == "image-detection",
    )
    return Variant("int8", "int8, static QDQ", file, _judge(source, file, "int8"), notes)


def _fp16(source: _Source) -> Variant:
    def accepts(file: Path) -> bool:
        try:
            _judge(source, file, "fp16")
        except VerificationError:
            return False
        return True

    half = half_precision(
        source.graph.file,
        source.folder("fp16"),
        source.evidence.judging,
        accepts,
    )
    kept = f"{len(half.kept)} nodes kept in fp32, found in {half.trials} trials"
    notes = (f"{kept}: {', '.join(half.kept[:6])}",) if half.kept else ()
    agreement = _judge(source, half.file, "fp16")
    return Variant("fp16", "fp16", half.file, agreement, notes, half.kept)


def _answers(graph: Graph, loaded: ModelFacts, evidence: Evidence) -> tuple[Answers, ...]:
    model, judge = Model(graph.file), Judge(graph.outputs, loaded.labels, "fp32")
    return tuple(judge.answers(model, sample) for sample in evidence.judging)


def _judge(source: _Source, file: Path, precision: Precision) -> Agreement:
    """Compare a variant with fp32 on every row; raises VerificationError when it is not it."""
    graph, loaded = source.graph, source.loaded
    judge = Judge(graph.outputs, loaded.labels, precision)
    variant = Model(file)
    for problem in variant.faults(graph.inputs, graph.outputs):
        raise VerificationError(f"{problem} in {precision}", where=loaded.name)
    rows: dict[str, list[Row]] = {"fp32": []}
    for sample, expected in zip(source.evidence.judging, source.expected, strict=True):
        actual = judge.answers(variant, sample)
        rows["fp32"] += judge.beside(expected, actual, sample, "fp32")
        for other in judge.own_kinds(sample):
            own = judge.own_answers(other, variant, sample)
            rows.setdefault(other, []).extend(judge.beside(own, actual, sample, other))
    for other, found in rows.items():
        where = f"{precision}, against {other}"
        check_agreement(summarise(found), LIMITS[precision], source.max_drop, where=where)
    agreement = summarise(rows["fp32"])
    if loaded.task == "image-detection" and agreement.mean_iou is None:
        raise VerificationError(
            "no sample has a detection on which the precisions could be compared",
            where=loaded.name,
            hint="give pictures of what it detects with --calibration-data",
        )
    return agreement


def _timed(source: _Source, variant: Variant) -> tuple[Speed, ...]:
    graphs: dict[str, Path] = {"fp32": source.graph.file, variant.precision: variant.file}
    outputs = tuple(tensor.name for tensor in source.graph.outputs)
    return measure(graphs, outputs, source.loaded)
