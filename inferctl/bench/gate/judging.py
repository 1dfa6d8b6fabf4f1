"""The gate: made before a measurement of what was asked, it judges the report afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inferctl.bench.gate.comparison import compare
from inferctl.bench.gate.regression import MIN_WINDOWS
from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.gate.threshold import Threshold, parse_threshold
from inferctl.bench.plan import Plan
from inferctl.bench.report.document import read_report
from inferctl.bench.report.record import Report
from inferctl.errors import UsageError

DEFAULT_LIMIT = "5%"
PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Gate:
    """Conditions that fail a load, and a baseline that it must not fall behind by `limit`."""

    thresholds: tuple[Threshold, ...] = ()
    baseline: Report | None = None
    limit: float = 0.05

    def beside(self, baseline: Report) -> Gate:
        """The same, with a baseline that was just measured."""
        return replace(self, baseline=baseline)

    def judge(self, report: Report) -> Ruling:
        """A case for each condition and each compared figure, at each load; one if that failed."""
        answered = [load for load in report.loads if not load.failure]
        cases = [one.judge(load) for load in answered for one in self.thresholds]
        cases += [
            Case("measurement", "every load is answered", False, f"{load.failure} at {load.label}")
            for load in report.loads
            if load.failure
        ]
        if report.interrupted:
            cases.append(Case("measurement", "measured to the end", False, "it was interrupted"))
        if self.baseline is None:
            return Ruling(tuple(cases))
        found, notes = compare(self.baseline, report, self.limit)
        return Ruling((*cases, *found), tuple(notes))


def make_gate(
    fail_if: Sequence[str],
    baseline: Path | None,
    max_regression: str | None,
    *,
    against: bool = False,
) -> Gate | None:
    """Read what was asked for; None of nothing. Raises UsageError for what cannot be judged.

    `against`: the baseline is measured too, and told to the gate by `beside`.
    """
    if against and baseline is not None:
        raise UsageError("--against measures the baseline itself", hint="leave --baseline out")
    compared = against or baseline is not None
    if max_regression is not None and not compared:
        raise UsageError(
            "--max-regression needs something to compare with",
            hint="name an earlier run by --baseline, or a server by --against",
        )
    if not fail_if and not compared:
        return None
    limit = _percent(DEFAULT_LIMIT if max_regression is None else max_regression)
    old = None if baseline is None else read_report(baseline)
    if old is not None and baseline is not None:
        for problem in _problems(old):
            raise UsageError(
                problem, where=str(baseline), hint="measure it again with a --duration"
            )
    return Gate(tuple(map(parse_threshold, fail_if)), old, limit)


def comparable(plan: Plan) -> Plan:
    """The plan with all of its windows, of which three that agree are too few to compare.

    Raises UsageError where even all are.
    """
    if plan.windows < MIN_WINDOWS:
        raise UsageError(
            f"{plan.windows} windows cannot be compared, {MIN_WINDOWS} are needed",
            hint="give a longer --duration, more --max-windows, or a shorter --window",
        )
    return replace(plan, until_stable=False)


def _problems(baseline: Report) -> Iterator[str]:
    """Why nothing can be compared with a report."""
    if baseline.interrupted:
        yield "the baseline was interrupted"
    windows = max(len(load.counted) for load in baseline.loads) if baseline.loads else 0
    if windows < MIN_WINDOWS:
        yield f"the baseline has {windows} window{'s' * (windows != 1)}, {MIN_WINDOWS} are needed"


def _percent(text: str) -> float:
    found = PERCENT.fullmatch(text.strip())
    if found is None or float(found[1]) > 100:
        raise UsageError(f"{text!r} is no share", where="--max-regression", hint="write 5%")
    return float(found[1]) / 100
