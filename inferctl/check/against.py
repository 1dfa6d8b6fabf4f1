"""A bundle beside another of the same model: the same answers, and how much faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferctl.bundles.manifest import Precision
from inferctl.check.findings import Finding, Line
from inferctl.check.opened import Opened
from inferctl.check.pairs import Pairs
from inferctl.errors import UsageError, VerificationError
from inferctl.export.agreement import Agreement
from inferctl.export.judge import Judge
from inferctl.export.samples import Sample
from inferctl.export.speed import ONE_THREAD, Speed, measure

_LOOSEST: tuple[Precision, ...] = ("int8", "fp16", "fp32")
OTHER, THIS = "the other", "this"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lines for the report; `agreement` is over all rows, `speeds` name the graphs."""

    lines: tuple[Line, ...]
    agreement: Agreement | None
    speeds: tuple[Speed, ...]


def compare_with(
    opened: Opened, other: Opened, batches: Sequence[Sample], max_drop: float
) -> Comparison:
    """Compare a bundle with another on `batches`.

    The looser precision of the two sets the limits, and is held against the other: what fp32 had
    decided is asked of fp32. Raises UsageError when their inputs differ.
    """
    _check_comparable(opened, other)
    judged = looser(opened, other)
    precision = judged.manifest.precision
    reference = other if judged is opened else opened
    pairs = pairs_of(judged, reference, batches, precision, "the other")
    lines = (
        _labels(opened, other),
        pairs.line("answers against the other", precision, max_drop),
    )
    return Comparison(lines, pairs.agreement, _speeds(opened, other))


def looser(opened: Opened, other: Opened) -> Opened:
    """The bundle of the looser precision; of two alike the first."""
    return min(opened, other, key=lambda one: _LOOSEST.index(one.manifest.precision))


def pairs_of(
    judged: Opened,
    reference: Opened,
    batches: Sequence[Sample],
    precision: Precision,
    kind: str,
) -> Pairs:
    """What one answers to `batches` beside what the other does, which is told as `kind`."""
    pairs = Pairs()
    judge = Judge(judged.manifest.outputs, judged.manifest.labels, precision)
    for sample in batches:
        try:
            expected = reference.judge.answers(reference.model, sample)
            actual = judged.judge.answers(judged.model, sample)
        except VerificationError as error:
            pairs.lost(sample, error.what)
            continue
        pairs.compare(judge, sample, kind, expected, actual)
    return pairs


def _check_comparable(opened: Opened, other: Opened) -> None:
    ours, theirs = opened.manifest, other.manifest
    for what in ("task", "inputs", "outputs", "image", "text"):
        if getattr(ours, what) != getattr(theirs, what):
            raise UsageError(
                f"the two bundles cannot be compared: their {what} differ",
                where=f"--against {other.path}",
                hint="name another precision, or another version, of the same model",
            )


def _labels(opened: Opened, other: Opened) -> Line:
    ours, theirs = opened.manifest.labels, other.manifest.labels
    findings = [
        Finding(f"label {number}", f"it is {mine!r}, and {yours!r} in the other")
        for number, (mine, yours) in enumerate(zip(ours, theirs, strict=False))
        if mine != yours
    ]
    if len(ours) != len(theirs):
        findings.append(Finding("labels", f"{len(ours)} are named, and {len(theirs)} in the other"))
    return Line(
        "labels against the other", len(ours), "the same, in the same order", tuple(findings)
    )


def _speeds(opened: Opened, other: Opened) -> tuple[Speed, ...]:
    """Measured for pictures and texts; of a bare tensor nothing tells how large it comes."""
    if opened.manifest.task == "tensor":
        return ()
    graphs = {OTHER: other.graph, THIS: opened.graph}
    placement = opened.placement
    on = placement.device if placement.on_cuda else ONE_THREAD
    return measure(graphs, opened.judge.names, opened, placement.providers, on)
