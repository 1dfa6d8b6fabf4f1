"""What was looked at and what was found, as lines of a table and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from inferctl.errors import InferctlError

Status = Literal["ok", "warn", "fail"]

MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is a command or a setting, and empty when it is ok."""

    section: str
    name: str
    status: Status
    finding: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """Makes the findings of a section."""

    section: str

    def ok(self, name: str, finding: str) -> Finding:
        """Nothing to do."""
        return Finding(self.section, name, "ok", finding)

    def warn(self, name: str, finding: str, fix: str) -> Finding:
        """It would serve, and worse than it could, or not as is meant."""
        return Finding(self.section, name, "warn", finding, fix)

    def fail(self, name: str, finding: str, fix: str) -> Finding:
        """It would not serve, or not what is asked for."""
        return Finding(self.section, name, "fail", finding, fix)

    def judged(self, status: Status, name: str, finding: str, fix: str) -> Finding:
        """As bad as `status` says."""
        return Finding(self.section, name, status, finding, "" if status == "ok" else fix)

    def error(self, name: str, error: InferctlError, fix: str) -> Finding:
        """What would end `inferctl serve`; `fix` where the error itself has no advice."""
        place = f" ({error.where})" if error.where else ""
        return self.fail(name, f"{error.what}{place}", error.hint or fix)


def table(findings: Sequence[Finding]) -> Table:
    """For the terminal: a section's name where it begins, a fix below its finding."""
    shown = Table("", "", "", "", box=None, pad_edge=False, show_header=False)
    section = ""
    for one in findings:
        mark = Text(*MARKS[one.status])
        begins = one.section if one.section != section else ""
        section = one.section
        # `Text` keeps square brackets in names from being read as markup.
        what = Text(one.finding)
        if one.fix:
            what.append(f"\n→ {one.fix}", style="bold")
        shown.add_row(Text(begins, "bold"), mark, Text(one.name), what)
    return shown


def document(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """As JSON: a list of section, name, status, finding and fix."""
    return [asdict(one) for one in findings]
