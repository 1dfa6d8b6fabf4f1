"""The JSON keeps its form, is what its schema says, and is read again as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import orjson
import pytest

from docs.generate import DOCS
from inferctl.bench.measurement import Load
from inferctl.bench.report.document import read_report, schema, to_json
from inferctl.errors import UsageError
from tests.bench.made import UNKNOWN, measurement, report, window

FULL = report(
    measurement(window(np.arange(1.0, 9.0), errors={"429": 1}), window([3.0]), limited="busy"),
    measurement(window([], server=UNKNOWN, cores=None), load=Load(rate_per_s=9.5), stable=False),
    service=None,
)


def test_the_fields_are_a_promise() -> None:
    written = json.loads(to_json(report()))
    assert list(written) == [
        "schema_version", "inferctl_version", "locust_version", "commit", "session", "created_at",
        "settings", "model", "machine", "service", "interrupted", "loads", "notes",
    ]  # fmt: skip
    assert list(written["loads"][0]) == [
        "load", "client", "server", "generator_cpu_cores", "stable", "client_limited",
        "interrupted", "counted_from", "windows", "moments", "goodput", "failure", "by_turns",
    ]  # fmt: skip
    assert written["loads"][0]["client"]["latency"]["p95_ms"] == 95.0


def test_what_is_written_is_what_the_schema_in_docs_says() -> None:
    described = json.loads((DOCS / "bench.schema.json").read_text(encoding="utf-8"))
    assert described == schema()
    validator = jsonschema.Draft202012Validator(described)
    validator.check_schema(described)
    for made in (FULL, report(), replace(report(), interrupted=True)):
        validator.validate(json.loads(to_json(made)))
    broken = json.loads(to_json(FULL))
    del broken["loads"][0]["client"]["answered"]
    assert not validator.is_valid(broken)


def test_a_stored_report_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(to_json(FULL))
    assert read_report(path) == FULL


def test_fields_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(orjson.dumps(json.loads(to_json(FULL)) | {"later": 1}))
    assert read_report(path) == FULL


def altered(**changes: object) -> bytes:
    return orjson.dumps(json.loads(to_json(FULL)) | changes)


def without_latencies() -> bytes:
    document = json.loads(to_json(FULL))
    document["loads"][0]["windows"][0]["latencies"] = "AAAA"
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a report of `inferctl bench --json`"),
        (b"[]", "not a report"),
        (b'{"checkpoint": {}}', "not a report"),
        (altered(loads=[{}]), "not a report"),
        (altered(loads=[]), "not a report"),
        (without_latencies(), "not a report"),
        (altered(schema_version=1), "a report of schema version 1, not 2"),
    ],
)
def test_what_is_no_report_is_refused_in_a_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as refused:
        read_report(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UsageError, match="cannot read the report: "):
            read_report(path)
