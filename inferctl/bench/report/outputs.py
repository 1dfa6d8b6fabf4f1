"""The files that a measurement is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inferctl.bench.gate.junit import to_junit
from inferctl.bench.gate.ruling import Ruling
from inferctl.bench.report.columns import CsvStyle, to_csv
from inferctl.bench.report.document import to_json
from inferctl.bench.report.markdown import to_markdown
from inferctl.bench.report.page import to_html
from inferctl.bench.report.record import Report
from inferctl.errors import UsageError
from inferctl.files import check_writable, write_whole

Make = Callable[[Report, Ruling | None], bytes]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where each form goes; None is not wanted."""

    json: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    csv: Path | None = None
    csv_style: CsvStyle = "locust"
    junit: Path | None = None

    def check(self) -> None:
        """Before anything is measured. Raises OutputError or UsageError for what cannot be."""
        seen: dict[Path, str] = {}
        for option, path, _ in self._wanted():
            check_writable(path, option)
            whole = path.absolute()
            if whole in seen:
                raise UsageError(
                    f"{seen[whole]} and {option} name one file", where=str(path), hint="name two"
                )
            seen[whole] = option

    def write(self, report: Report, ruling: Ruling | None = None) -> None:
        """Each file whole or not at all. Raises OutputError."""
        for _, path, make in self._wanted():
            write_whole(path, make(report, ruling))

    def _wanted(self) -> Iterator[tuple[str, Path, Make]]:
        forms: tuple[tuple[str, Path | None, Make], ...] = (
            ("--json", self.json, lambda report, _: to_json(report)),
            ("--html", self.html, lambda report, ruling: to_html(report, ruling).encode()),
            ("--markdown", self.markdown, lambda one, ruling: to_markdown(one, ruling).encode()),
            ("--csv", self.csv, lambda report, _: to_csv(report, self.csv_style).encode()),
            ("--junit", self.junit, to_junit),
        )
        yield from ((option, path, make) for option, path, make in forms if path is not None)
