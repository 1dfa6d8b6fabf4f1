"""JUnit XML as CI systems read it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from inferctl.bench.gate.junit import to_junit
from inferctl.bench.gate.ruling import Case, Ruling
from tests.bench.made import measurement, report, window

RULING = Ruling(
    (
        Case("limit", "p99>50ms", False, "99ms at 8 users"),
        Case("regression", "throughput within 5% of the baseline", True, "1% slower"),
    )
)


def test_each_check_is_a_test_case_and_so_is_the_measurement() -> None:
    suites = ET.fromstring(to_junit(report(), RULING))
    (suite,) = suites.findall("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert [(case.get("classname"), case.get("name")) for case in suite.findall("testcase")] == [
        ("inferctl.bench.shapes.measurement", "measured to the end"),
        ("inferctl.bench.shapes.limit", "p99>50ms"),
        ("inferctl.bench.shapes.regression", "throughput within 5% of the baseline"),
    ]
    (failure,) = suite.findall("testcase/failure")
    assert (failure.get("type"), failure.get("message")) == ("limit", "99ms at 8 users")


def test_an_interrupted_measurement_is_a_failure() -> None:
    made = report(measurement(window([1.0]), interrupted=True))
    (failure,) = ET.fromstring(to_junit(made)).iter("failure")
    assert failure.text == "interrupted"


def test_the_verdict_is_what_the_suite_printed() -> None:
    (output,) = ET.fromstring(to_junit(report(), RULING)).iter("system-out")
    assert output.text is not None
    assert output.text.startswith("shapes: 100.0 requests/s at 8 users")


def test_what_xml_cannot_hold_is_replaced() -> None:
    made = replace(report(), commit="\x00<&")
    found = ET.fromstring(to_junit(made)).find(".//property[@name='commit']")
    assert found is not None
    assert found.get("value") == "�<&"
