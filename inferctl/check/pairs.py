"""Answers beside answers to the same samples, collected into one line."""

from __future__ import annotations

from inferctl.bundles.manifest import Precision
from inferctl.check.findings import Finding, Line
from inferctl.errors import VerificationError
from inferctl.export.agreement import LIMITS, Agreement, Row, fault, largest_move, summarise
from inferctl.export.compare import Answers
from inferctl.export.judge import Judge
from inferctl.export.runtime import Model
from inferctl.export.samples import Sample


class Pairs:
    """Rows of two runs: of two graphs, or of one with its rows together and alone."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._findings: list[Finding] = []
        self._batches = 0

    def add(self, judge: Judge, sample: Sample, kind: str, answers: Answers, model: Model) -> None:
        """Run a sample's rows as `kind` says, and compare `answers` with that."""
        try:
            expected = judge.own_answers(kind, model, sample)
        except VerificationError as error:
            self._findings.append(Finding(sample.name, error.what, float("inf")))
            return
        self.compare(judge, sample, kind, expected, answers)

    def compare(
        self, judge: Judge, sample: Sample, kind: str, expected: Answers, actual: Answers
    ) -> None:
        """Compare two answers to a sample by the precision of `judge`."""
        self._batches += 1
        try:
            self.rows += judge.beside(expected, actual, sample, kind)
        except VerificationError as error:
            size = largest_move(expected, actual)
            self._findings.append(Finding(sample.name, error.what, size))

    def lost(self, sample: Sample, problem: str) -> None:
        """Note a sample that could not be run."""
        self._findings.append(Finding(sample.name, problem, float("inf")))

    @property
    def agreement(self) -> Agreement | None:
        """Of all rows that could be compared."""
        return summarise(self.rows) if self.rows else None

    def line(self, name: str, precision: Precision, max_drop: float) -> Line:
        """Judge what was collected by the limits of a precision."""
        findings, detail = list(self._findings), "nothing to compare"
        agreement = self.agreement
        if agreement is not None:
            detail = agreement.sentence()
            problem = fault(agreement, LIMITS[precision], max_drop)
            if problem:
                findings.append(Finding(agreement.worst, problem, agreement.max_drift))
        return Line(name, self._batches, detail, tuple(findings))
