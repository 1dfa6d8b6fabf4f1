"""A gate is made before anything is measured, and says all that it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from inferctl.bench.gate.judging import Gate, comparable, make_gate
from inferctl.bench.gate.junit import to_junit
from inferctl.bench.measurement import Load
from inferctl.bench.plan import Plan
from inferctl.bench.report.document import to_json
from inferctl.bench.report.record import Report
from inferctl.errors import UsageError
from tests.bench.made import measurement, report, window


def stored(folder: Path, made: Report) -> Path:
    path = folder / "old.json"
    path.write_bytes(to_json(made))
    return path


def windows(count: int) -> Report:
    return report(measurement(*(window(np.arange(1.0, 101.0), float(n)) for n in range(count))))


def test_nothing_asked_is_no_gate() -> None:
    assert make_gate([], None, None) is None


def test_conditions_and_comparisons_are_cases_of_one_ruling(tmp_path: Path) -> None:
    gate = make_gate(["p99>50ms", "errors>0"], stored(tmp_path, windows(6)), "3%")
    assert gate is not None
    ruling = gate.judge(windows(6))
    assert [(case.name, case.passed) for case in ruling.cases] == [
        ("p99>50ms", False), ("errors>0", True),
        ("throughput within 3% of the baseline", True), ("p99 within 3% of the baseline", True),
    ]  # fmt: skip
    assert not ruling.passed
    assert ruling.sentences == ["p99>50ms: 99ms at 8 users", "3 of 4 checks passed."]


def test_every_load_is_judged() -> None:
    gate = make_gate(["p99>50ms"], None, None)
    assert gate is not None
    loads = [measurement(window(np.full(10, ms))) for ms in (10.0, 90.0)]
    assert [case.passed for case in gate.judge(report(*loads)).cases] == [True, False]


def test_a_load_that_failed_is_one_failure(tmp_path: Path) -> None:
    """Of the ruling, and of the JUnit file with it; so it is where the baseline's failed."""
    failed = report(replace(measurement(), failure="nobody answered"))
    gate = make_gate(["p99>50ms", "errors>0"], stored(tmp_path, windows(6)), "3%")
    assert gate is not None
    ruling = gate.judge(failed)
    assert [case.detail for case in ruling.cases] == ["nobody answered at 8 users"]
    assert len(list(ElementTree.fromstring(to_junit(failed, ruling)).iter("failure"))) == 1

    (case,) = Gate(baseline=failed).judge(windows(6)).cases
    assert (case.passed, case.detail) == (False, "it has nothing measured at 8 users")


def test_what_was_interrupted_does_not_pass() -> None:
    gate = make_gate(["p99>500ms"], None, None)
    assert gate is not None
    ruling = gate.judge(report(measurement(window([1.0]), interrupted=True)))
    assert [case.detail for case in ruling.failed] == ["it was interrupted"]


def test_a_limit_without_a_baseline_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="--max-regression needs something to compare with"):
        make_gate([], None, "5%")


def test_a_baseline_may_be_measured_beside(tmp_path: Path) -> None:
    gate = make_gate([], None, "5%", against=True)
    assert gate is not None
    ruling = gate.beside(windows(6)).judge(windows(6))
    assert [case.passed for case in ruling.cases] == [True, True]
    with pytest.raises(UsageError, match="--against measures the baseline itself"):
        make_gate([], stored(tmp_path, windows(6)), None, against=True)


def test_what_is_to_be_compared_is_measured_in_all_windows() -> None:
    """Three that agree would end it, and be too few."""
    usual = Plan("http://h", None, Load(users=8), 10, 3.0, 2.0, until_stable=True)
    assert (comparable(usual).windows, comparable(usual).until_stable) == (10, False)
    with pytest.raises(UsageError, match="4 windows cannot be compared, 5 are needed"):
        comparable(replace(usual, windows=4))


@pytest.mark.parametrize("limit", ["", "5", "-5%", "five%", "101%"])
def test_a_limit_is_a_share(tmp_path: Path, limit: str) -> None:
    with pytest.raises(UsageError, match=r"is no share \(--max-regression\); write 5%"):
        make_gate([], stored(tmp_path, windows(6)), limit)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (windows(4), "the baseline has 4 windows, 5 are needed"),
        (windows(1), "the baseline has 1 window, 5 are needed"),
        (report(measurement(window([1.0]), interrupted=True)), "the baseline was interrupted"),
    ],
)
def test_a_baseline_that_says_too_little_is_refused_before_measuring(
    tmp_path: Path, baseline: Report, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_gate([], stored(tmp_path, baseline), None)
