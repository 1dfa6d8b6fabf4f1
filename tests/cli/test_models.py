"""`inferctl models`: what a person sees of a folder of bundles."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from inferctl.bundles.manifest import GRAPH_FILE, REPORT_FILE, Manifest
from inferctl.cli import app
from inferctl.cli.models import age, size
from inferctl.errors import BundleError
from tests.graphs import image_fields, image_graph, write_bundle

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def put(models: Path, version: int, **changes: Any) -> Path:
    folder = models / "shapes" / str(version)
    write_bundle(folder, image_graph(), image_fields(name="shapes", version=version, **changes))
    return folder


def listed(folder: Path) -> list[list[str]]:
    """The table's cells, row by row, without its head."""
    result = CliRunner().invoke(app, ["models", str(folder)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return [re.split(r" {2,}", line.strip()) for line in result.output.splitlines()[1:]]


def test_each_version_has_a_line_and_the_highest_is_the_latest(tmp_path: Path) -> None:
    for version in (2, 10):
        put(tmp_path, version)
    first, second = listed(tmp_path)
    assert first[:4] == ["shapes", "2", "image-classification", "fp32"]
    assert second[:2] == ["shapes", "10 (latest)"]
    assert first[5] == second[5] == "intact"


def test_a_damaged_bundle_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    (put(tmp_path, 1) / GRAPH_FILE).write_bytes(b"other")
    (row,) = listed(tmp_path)
    assert row[:2] == ["shapes", "1 (latest)"]
    assert "'model.onnx' is not what was exported" in row[5]


def test_a_folder_without_bundles_is_an_error_of_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["models", str(tmp_path)])
    assert isinstance(result.exception, BundleError)
    assert "no bundle found" in str(result.exception)


def manifest(**changes: Any) -> Manifest:
    fields = image_fields(**changes) | {"files": {GRAPH_FILE: {"bytes": 1, "sha256": "0" * 64}}}
    return Manifest.model_validate(fields)


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (timedelta(seconds=59), "now"),
        (timedelta(minutes=1), "1 min"),
        (timedelta(minutes=119), "1 h"),
        (timedelta(hours=49), "2 d"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(ago: timedelta, expected: str) -> None:
    assert age((NOW - ago).isoformat(), NOW) == expected


@pytest.mark.parametrize("said", ["yesterday", "2026-11-26T12:00:00", None, 3])
def test_an_age_that_cannot_be_told_is_unknown(said: object) -> None:
    assert age(said, NOW) == "unknown"


@pytest.mark.parametrize(
    ("report", "expected"),
    [('{"created_at": "2020-01-01T00:00:00+00:00"}', r"\d{4} d"), ("damaged", "unknown")],
)
def test_an_age_is_told_by_the_report(tmp_path: Path, report: str, expected: str) -> None:
    (put(tmp_path, 1, created_at=None) / REPORT_FILE).write_text(report)
    (row,) = listed(tmp_path)
    assert re.fullmatch(expected, row[-1])


def test_a_size_is_that_of_all_files() -> None:
    fields = image_fields() | {
        "files": {
            GRAPH_FILE: {"bytes": 1_200_000, "sha256": "0" * 64},
            "README.md": {"bytes": 300_000, "sha256": "0" * 64},
        }
    }
    assert size(Manifest.model_validate(fields)) == "1.5 MB"
