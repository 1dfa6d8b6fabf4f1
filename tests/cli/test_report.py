"""`inferctl report`: a stored measurement again, held to limits, or to another one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inferctl.bench.report.document import to_json
from inferctl.cli import app
from inferctl.errors import GateError, InferctlError
from tests.bench.made import measurement, report, window

RANDOM = np.random.default_rng(0)


def store(path: Path, mean_ms: float) -> Path:
    latencies = (RANDOM.normal(mean_ms, mean_ms / 50, int(4000 / mean_ms)) for _ in range(6))
    windows = [window(values, 2.0 + number) for number, values in enumerate(latencies)]
    path.write_bytes(to_json(report(measurement(*windows))))
    return path


def run(*arguments: str) -> tuple[str, InferctlError | None]:
    """What is printed, and the error that `inferctl` would print as a line."""
    done = CliRunner().invoke(app, ["report", *arguments])
    if done.exit_code and not isinstance(done.exception, InferctlError):
        raise AssertionError(done.output) from done.exception
    return done.stdout, done.exception  # type: ignore[return-value]


def test_a_stored_report_is_printed_and_written_again(tmp_path: Path) -> None:
    old, again, page = store(tmp_path / "a.json", 10), tmp_path / "b.json", tmp_path / "b.html"
    printed, error = run(str(old), "--json", str(again), "--html", str(page))
    assert error is None
    assert printed.startswith("Measured: shapes: 400.0 requests/s at 8 users")
    assert json.loads(again.read_text()) == json.loads(old.read_text())
    assert page.read_text().startswith("<!doctype html>")


def test_a_limit_that_is_broken_is_exit_code_10(tmp_path: Path) -> None:
    printed, error = run(str(store(tmp_path / "a.json", 10)), "--fail-if", "p50>5ms")
    assert isinstance(error, GateError)
    assert error.exit_code == 10
    assert str(error).startswith("1 of 1 checks failed: p50>5ms: ")
    assert printed.startswith("Failed: shapes")


def test_two_are_compared_and_what_failed_is_in_every_form(tmp_path: Path) -> None:
    old, new = store(tmp_path / "old.json", 10), store(tmp_path / "new.json", 12)
    xml, note = tmp_path / "a.xml", tmp_path / "a.md"
    _, error = run(
        str(new), "--baseline", str(old), "--max-regression", "5%", "--junit", str(xml),
        "--markdown", str(note),
    )  # fmt: skip
    assert isinstance(error, GateError)
    assert 'failures="2"' in xml.read_text()
    assert "**failed**" in note.read_text()
    assert run(str(old), "--baseline", str(new))[1] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.json"], 2, "cannot read the report: No such file"),
        (["a.json", "--fail-if", "p99"], 2, "is no condition"),
        (["a.json", "--baseline", "none.json"], 2, "cannot read the report"),
        (["a.json", "--html", "none/a.html"], 5, "cannot write there"),
        (["a.json", "--json", "."], 5, "a folder is there already"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "a.json", 10)
    _, error = run(*arguments, "--csv", "a.csv")
    assert error is not None
    assert error.exit_code == code
    assert message in str(error)
    assert not (tmp_path / "a.csv").exists()
