"""What a check looked at and what it found, as lines of a table and as a document."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from inferctl.export.agreement import Agreement
from inferctl.export.speed import Speed


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault: the sample that shows it, and how large it is beside others of its line."""

    sample: str
    problem: str
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was checked, on `count` samples; `detail` says how it went."""

    name: str
    count: int
    detail: str
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Finding | None:
        """Its largest fault."""
        return max(self.findings, key=lambda finding: finding.size, default=None)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All lines in the order of the checks; `agreement` and `speeds` are with another bundle."""

    bundle: str
    model: str
    precision: str
    device: str
    lines: tuple[Line, ...]
    against: str | None = None
    agreement: Agreement | None = None
    speeds: tuple[Speed, ...] = ()

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines with faults; the first is the one to look at."""
        return tuple(line for line in self.lines if line.findings)

    def document(self) -> dict[str, object]:
        """The report as JSON."""
        return {
            "bundle": self.bundle,
            "model": self.model,
            "precision": self.precision,
            "device": self.device,
            "passed": not self.failed,
            "checks": [
                {
                    "name": line.name,
                    "passed": not line.findings,
                    "samples": line.count,
                    "detail": line.detail,
                    "faults": [
                        {"sample": finding.sample, "problem": finding.problem}
                        for finding in line.findings
                    ],
                }
                for line in self.lines
            ],
            "against": self.against,
            "agreement": self.agreement.document() if self.agreement else None,
            "speed": [{"rows": speed.rows, "median_ms": speed.median_ms} for speed in self.speeds],
        }

    def table(self) -> Table:
        """The report for the terminal."""
        table = Table("", "check", "samples", "result", box=None, pad_edge=False)
        for line in self.lines:
            mark = Text("✗", "red") if line.findings else Text("✓", "green")
            worst = line.worst
            more = f" (and {len(line.findings) - 1} more)" if len(line.findings) > 1 else ""
            result = f"{worst.sample}: {worst.problem}{more}" if worst else line.detail
            # `Text` keeps square brackets in names from being read as markup.
            table.add_row(mark, line.name, str(line.count), Text(result))
        return table
