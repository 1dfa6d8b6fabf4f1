"""A ruling as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.report.record import Report
from inferctl.bench.report.verdict import verdict_of

SUITE = "inferctl bench"


def to_junit(report: Report, ruling: Ruling | None = None) -> bytes:
    """A suite with a case for the measurement as a whole and for each check."""
    spoilt = ["interrupted"] * report.interrupted
    spoilt += [f"{load.failure} at {load.label}" for load in report.loads if load.failure]
    whole = Case("measurement", "measured to the end", not spoilt, "; ".join(spoilt))
    checks = [case for case in (ruling.cases if ruling else ()) if case.group != whole.group]
    cases = [whole, *checks]
    duration_s = sum(load.duration_s for load in report.loads)
    failures = sum(not case.passed for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    suites = Element("testsuites", counts | {"name": SUITE, "time": f"{duration_s:.3f}"})
    suite = SubElement(
        suites, "testsuite",
        counts | {
            "name": SUITE, "skipped": "0", "time": f"{duration_s:.3f}",
            # ISO 8601 without a zone, as the schema has it.
            "timestamp": report.created_at[:19],
        },
    )  # fmt: skip
    properties = SubElement(suite, "properties")
    told = {"url": report.settings.url, "commit": report.commit or "", "model": report.model.name}
    for name, value in told.items():
        SubElement(properties, "property", {"name": name, "value": printable(value)})
    for case in cases:
        _add(suite, report, case)
    output = SubElement(suite, "system-out")
    verdict = verdict_of(report, ruling)
    output.text = printable("\n".join([verdict.headline, *verdict.sentences]))
    indent(suites)
    document: bytes = tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add(suite: Element, report: Report, case: Case) -> None:
    where = f"inferctl.bench.{report.model.name}.{case.group}"
    made = SubElement(
        suite, "testcase",
        {"classname": printable(where), "name": printable(case.name), "time": "0"},
    )  # fmt: skip
    if not case.passed:
        told = printable(case.detail)
        SubElement(made, "failure", {"type": case.group, "message": told}).text = told


def printable(text: str) -> str:
    """Text without the control characters that XML cannot have."""
    return "".join(one if one.isprintable() or one == "\n" else "�" for one in text)
