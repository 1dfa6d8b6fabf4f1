"""The report in Markdown, for a pull request or a job's summary."""

from __future__ import annotations

from collections.abc import Iterator

from inferctl.bench.gate.ruling import Ruling
from inferctl.bench.report.record import Report
from inferctl.bench.report.verdict import verdict_of
from inferctl.bench.report.words import memory, rows_of


def to_markdown(report: Report, ruling: Ruling | None = None) -> str:
    """The verdict, the checks, the figures, the circumstances."""
    verdict = verdict_of(report, ruling)
    lines = [f"## {verdict.title}: {escaped(verdict.headline)}", ""]
    lines += [f"- {escaped(sentence)}" for sentence in verdict.sentences]
    if ruling and ruling.cases:
        lines += ["", "| check | | found |", "|---|---|---|"]
        lines += [
            f"| `{case.name}` | {'passed' if case.passed else '**failed**'} "
            f"| {escaped(case.detail)} |"
            for case in ruling.cases
        ]
    labels = [escaped(load.label) for load in report.loads]
    lines += ["", f"| | {' | '.join(labels)} |", f"|---|{'---:|' * len(labels)}"]
    lines += [
        f"| {row.name} | {' | '.join(map(escaped, row.values))} |" for row in rows_of(report.loads)
    ]
    lines += ["", *(f"- {name}: {escaped(value)}" for name, value in circumstances(report))]
    return "\n".join(lines) + "\n"


def circumstances(report: Report) -> Iterator[tuple[str, str]]:
    """Where, when, with what: names and values."""
    model, settings, machine = report.model, report.settings, report.machine
    yield "model", f"{model.name} version {model.version}, {model.task}, at {settings.url}"
    inputs = settings.inputs
    yield "inputs", f"{inputs.count} ({inputs.source}), {inputs.mean_bytes:,.0f} bytes on average"
    if inputs.path is not None:
        yield "posted", f"{inputs.dialect}, to {inputs.path}"
    if service := report.service:
        found = {
            "inferctl": service.inferctl_version,
            "onnxruntime": service.onnxruntime_version,
            "precision": service.precision,
            "device": service.device_name or service.device,
            "workers": service.workers,
            "instances": service.instances,
            "max_batch_rows": service.max_batch_rows,
            "slots": service.slots,
        }
        known = (f"{name} {value}" for name, value in found.items() if value is not None)
        yield "server", ", ".join(known) or "says nothing of itself"
    held = f", {memory(machine.memory_bytes)}" if machine.memory_bytes else ""
    cpu = f" of {machine.cpu}" if machine.cpu else ""
    yield "generator's machine", f"{machine.cores} cores{cpu}{held}, {machine.platform}"
    locust = f", locust {report.locust_version}" if report.locust_version else ""
    yield "generator", f"inferctl {report.inferctl_version}{locust}, Python {machine.python}"
    yield "commit", report.commit or "no checkout"
    yield "measured", report.created_at


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for letter in "\\`*_<>|[]":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("\n", " ")
