"""Loads are compared with their like, and what cannot be compared is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.bench.gate.comparison import compare
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.report.record import Report
from tests.bench.made import SERVICE, measurement, report, window

RANDOM = np.random.default_rng(0)


def steady(mean_ms: float, windows: int = 6, users: int = 8) -> Measurement:
    """Windows that hardly differ."""
    found = [
        window(RANDOM.normal(mean_ms, mean_ms / 50, int(8000 / mean_ms)), 2.0 + number)
        for number in range(windows)
    ]
    return measurement(*found, load=Load(users=users))


def test_a_slower_one_fails_in_every_figure_and_says_by_how_much() -> None:
    cases, notes = compare(report(steady(10)), report(steady(12)), 0.05)
    assert [(case.name, case.passed) for case in cases] == [
        ("throughput within 5% of the baseline", False), ("p99 within 5% of the baseline", False),
    ]  # fmt: skip
    assert cases[0].detail.startswith("2")
    assert "% slower (" in cases[0].detail
    assert cases[0].detail.endswith("800.0 requests/s -> 666.0 requests/s at 8 users")
    assert notes == []


def test_a_quicker_one_passes() -> None:
    cases, _ = compare(report(steady(12)), report(steady(10)), 0.05)
    assert all(case.passed for case in cases)
    assert "faster" in cases[0].detail


def test_loads_are_compared_with_their_like() -> None:
    old = report(steady(10, users=1), steady(30, users=4))
    cases, _ = compare(old, report(steady(30, users=4)), 0.05)
    assert [case.passed for case in cases] == [True, True]


def test_a_load_that_the_baseline_has_not_fails() -> None:
    cases, _ = compare(report(steady(10)), report(steady(10, users=9)), 0.05)
    assert [(case.passed, case.detail) for case in cases] == [(False, "it has no load of 9 users")]


@pytest.mark.parametrize("windows", [0, 4])
def test_too_few_windows_fail(windows: int) -> None:
    cases, _ = compare(report(steady(10)), report(steady(10, windows=windows)), 0.05)
    assert [case.detail for case in cases] == ["fewer than 5 windows with answers at 8 users"] * 2
    assert not any(case.passed for case in cases)


def notes_between(old: Report, new: Report) -> list[str]:
    return compare(old, new, 0.05)[1]


def test_what_makes_a_comparison_doubtful_is_noted() -> None:
    old = report(steady(10), steady(10, users=9))
    new = report(steady(10))
    other = replace(
        new,
        machine=replace(new.machine, cores=new.machine.cores + 1),
        model=replace(new.model, name="other"),
        settings=replace(new.settings, inputs=replace(new.settings.inputs, source="photos")),
    )
    assert notes_between(old, other) == [
        "The baseline had another generator: the machine's speed is not taken out.",
        "The baseline was measured on another machine: the comparison says little.",
        "The baseline is of another model, shapes.",
        "The baseline was measured with other inputs.",
        "Not measured again: 9 users.",
    ]


def busy(cores: float, users: int = 8) -> Measurement:
    """Windows of 10 ms in which the generator worked so much."""
    found = [window(RANDOM.normal(10, 0.1, 800), 2.0 + n, cores=cores) for n in range(6)]
    return measurement(*found, load=Load(users=users))


def at(url: str, made: Report, device: str = "cpu") -> Report:
    """The report as if it were of that server."""
    settings, service = replace(made.settings, url=url), replace(SERVICE, device=device)
    return replace(made, settings=settings, service=service)


def detail_of(old: Report, new: Report) -> str:
    return compare(old, new, 0.05)[0][0].detail


def test_a_generator_that_worked_more_for_a_request_says_that_the_machine_was_slower() -> None:
    old, new = (at("http://localhost:1", report(busy(cores))) for cores in (0.5, 0.6))
    assert "faster" in detail_of(old, new)
    assert "as measured" in detail_of(old, new)


def test_one_that_had_other_work_says_nothing_of_the_machine() -> None:
    """Of another version, or with another number of processes."""
    old, few, new = (at("http://localhost:1", report(busy(cores))) for cores in (0.5, 0.3, 0.6))
    assert "as measured" not in detail_of(replace(old, locust_version="1"), new)
    assert "as measured" not in detail_of(few, new)


def test_what_is_elsewhere_says_nothing_of_the_generators_machine() -> None:
    """Whether by its address or by its GPU: nothing is thought beforehand, and nothing is seen."""
    for url, device in (("http://h:1", "cpu"), ("http://127.0.0.1:1", "cuda")):
        old, new = (at(url, report(busy(cores)), device) for cores in (0.5, 0.6))
        assert "as measured" not in detail_of(old, new)
