"""The report as JSON: written, read again, and described by a JSON Schema."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from inferctl.bench.report.histogram import Histogram
from inferctl.bench.report.record import SCHEMA_VERSION, Report
from inferctl.errors import UsageError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# More than any measurement leaves: a wrong file is not read into memory.
MAX_BYTES = 256 * 2**20


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)


def to_json(report: Report) -> bytes:
    """The document, indented."""
    return orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n"


def read_report(path: Path) -> Report:
    """Read a stored report. Raises UsageError when it is none, or of another schema."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _foreign(path)
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the report: {error.strerror}", where=str(path)) from None
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _foreign(path) from None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION and "settings" in found:
        raise UsageError(
            f"a report of schema version {version}, not {SCHEMA_VERSION}", where=str(path),
            hint="measure again with this version",
        )  # fmt: skip
    try:
        report = _adapter().validate_python(found)
        if not report.loads:
            raise _foreign(path)
        for load in report.loads:
            for window in load.windows:
                Histogram.decode(window.latencies)
    except (ValidationError, ValueError):
        raise _foreign(path) from None
    return report


def schema() -> dict[str, Any]:
    """The JSON Schema of the document, made of the classes."""
    return {"$schema": DIALECT, **_adapter().json_schema()}


def _foreign(path: Path) -> UsageError:
    return UsageError(
        "not a report of `inferctl bench --json`", where=str(path), hint="check the path"
    )
