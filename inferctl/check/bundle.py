"""The checks of a bundle, one line of the report each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE
from inferctl.check.against import Comparison, compare_with, looser, pairs_of
from inferctl.check.data import real_samples
from inferctl.check.findings import CheckReport, Finding, Line
from inferctl.check.opened import Opened, open_for_check
from inferctl.check.pairs import Pairs
from inferctl.errors import VerificationError
from inferctl.export.judge import ALONE, UNPADDED
from inferctl.export.samples import Sample, judging_samples, samples
from inferctl.export.tensors import tensor_samples

STAGES = ("open", "run", "data", "cpu", "against")


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What `inferctl check` was told; `max_drop` is the share of rows that may answer otherwise.

    None is what the bundle's export allowed: by the same rows and limits, what it published passes.
    `device` runs the graph: one of those that `runtime.device` may be.
    """

    bundle: Path
    check_data: Path | None = None
    against: Path | None = None
    max_drop: float | None = None
    device: str = "cpu"

    def limit(self, judged: Opened) -> float:
        """The share of rows of a bundle that may answer otherwise."""
        return judged.max_drop if self.max_drop is None else self.max_drop


def check_bundle(
    request: CheckRequest, on_stage: Callable[[str], None] = lambda stage: None
) -> CheckReport:
    """Check a bundle; `on_stage` hears each of `STAGES` that is gone through as it begins.

    Faults are in the report. Raises BundleError when a bundle is damaged, UsageError when the data
    cannot be read or the other bundle is of another kind, StartError when something is missing for
    the device.
    """
    on_stage("open")
    opened = open_for_check(request.bundle, request.device)
    other = open_for_check(request.against, request.device) if request.against else None
    lines = [_files(opened), _signature(opened), _record(opened)]
    on_stage("run")
    bare = opened.manifest.task == "tensor"
    batches = list(tensor_samples(opened.manifest.inputs) if bare else samples(opened))
    more = judging_samples(opened) if opened.was_judged_on_generated_rows and not bare else ()
    lines += _runs(opened, [*batches, *more], "samples", request.limit(opened))
    if request.check_data is not None:
        on_stage("data")
        real = real_samples(opened, request.check_data)
        lines += _runs(opened, real, "real data", request.limit(opened))
        batches += real
    if opened.placement.on_cuda:
        on_stage("cpu")
        lines += [_device(opened), _beside_the_cpu(opened, [*batches, *more], request)]
    elif request.device != "cpu":
        lines.append(_device(opened))
    manifest = opened.manifest
    name, device = f"{manifest.name} version {manifest.version}", opened.placement.device
    parts = str(request.bundle), name, manifest.precision, device
    if other is None:
        return CheckReport(*parts, tuple(lines))
    on_stage("against")
    comparison = _compared(request, opened, other, batches)
    return CheckReport(
        *parts,
        (*lines, *comparison.lines),
        str(request.against),
        comparison.agreement,
        comparison.speeds,
    )


def _compared(
    request: CheckRequest, opened: Opened, other: Opened, batches: Sequence[Sample]
) -> Comparison:
    """Judge as the export of the looser precision did: by its rows, or by real ones alone."""
    judged = looser(opened, other)
    by_rows = judged.manifest.precision == "fp32" or judged.was_judged_on_generated_rows
    if by_rows and request.check_data is None and judged.manifest.task != "tensor":
        batches = [*batches, *judging_samples(opened)]
    return compare_with(opened, other, batches, request.limit(judged))


def _files(opened: Opened) -> Line:
    names = opened.manifest.files
    return Line("files", len(names), "as they were exported, by size and SHA-256")


def _signature(opened: Opened) -> Line:
    manifest = opened.manifest
    faults = opened.model.faults(manifest.inputs, manifest.outputs)
    tensors = len(manifest.inputs) + len(manifest.outputs)
    return Line(
        "inputs and outputs",
        tensors,
        "named, typed and free as the manifest says",
        tuple(Finding("graph", problem) for problem in faults),
    )


def _device(opened: Opened) -> Line:
    placed = opened.placement.told()
    detail = f"it ran on {placed.device}"
    if placed.missing:
        detail = f"it ran on the CPU: {placed.missing}; {placed.fix}"
    if placed.nodes_on_cpu:
        detail += f", but for {', '.join(placed.nodes_on_cpu)}"
    return Line("device", 1, detail)


def _beside_the_cpu(opened: Opened, batches: Sequence[Sample], request: CheckRequest) -> Line:
    """What the device answers, beside what the same graph answers on the CPU."""
    on_cpu = open_for_check(opened.path)
    precision = opened.manifest.precision
    pairs = pairs_of(opened, on_cpu, batches, precision, "the CPU")
    return pairs.line("answers against the CPU", precision, request.limit(opened))


def _record(opened: Opened) -> Line:
    """The manifest beside the export's own report, whose hash it carries."""
    report, manifest = opened.report, opened.manifest
    findings = []
    if report.get("labels") not in (None, list(manifest.labels)):
        findings.append(Finding("labels", "they are not those, in that order, of the export"))
    recorded = report.get("graph") or {}
    for key, name in (("sha256", GRAPH_FILE), ("data_sha256", DATA_FILE)):
        file = manifest.files.get(name)
        if recorded and recorded.get(key) != (file and file.sha256):
            findings.append(Finding("graph", "it is not the one that the export verified"))
    detail = "labels and graph are those of report.json" if recorded else "the export noted nothing"
    return Line("report of the export", 2 if recorded else 0, detail, tuple(findings))


def _runs(opened: Opened, batches: Sequence[Sample], what: str, max_drop: float) -> Iterator[Line]:
    """Every batch is run: its answers by contract, and beside those of its rows alone."""
    broken: list[Finding] = []
    own = {ALONE: Pairs()} | ({UNPADDED: Pairs()} if opened.manifest.text else {})
    judge = opened.judge
    for sample in batches:
        try:
            answers = judge.answers(opened.model, sample)
        except VerificationError as error:
            broken.append(Finding(sample.name, error.what))
            continue
        for kind in judge.own_kinds(sample):
            own[kind].add(judge, sample, kind, answers, opened.model)
    rows = sum(sample.defined_rows for sample in batches)
    detail = f"{rows} rows answered, all finite and as the task promises"
    yield Line(what, len(batches), detail, tuple(broken))
    for kind, pairs in own.items():
        yield pairs.line(f"{what}, {kind}", opened.manifest.precision, max_drop)
