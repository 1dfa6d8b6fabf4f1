"""`inferctl doctor` as a person runs it: all sections, one exit code."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.cli import app
from inferctl.doctor.probing import Probe
from inferctl.doctor.run import Examination, examine
from inferctl.errors import DoctorError
from tests.graphs import image_fields, image_graph, write_bundle

SECTIONS = ["python", "onnxruntime", "gpu", "system", "settings", "models", "service", "extras"]


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with a model in it, and none of the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)
    write_bundle(Path("models/shapes/1"), image_graph(), image_fields(name="shapes", version=1))


def run(*words: str) -> Result:
    return CliRunner().invoke(
        app, ["doctor", "--set", "server.port=0", "--set", "runtime.device=cpu", *words],
        env={"COLUMNS": "200"},
    )  # fmt: skip


def test_a_machine_that_would_serve_is_told_so_in_every_section() -> None:
    result = run("--json")
    assert result.exit_code == 0, result.output
    findings = json.loads(result.stdout)
    assert list(dict.fromkeys(one["section"] for one in findings)) == SECTIONS
    assert {frozenset(one) for one in findings} == {
        frozenset(("section", "name", "status", "finding", "fix"))
    }
    assert all(bool(one["fix"]) == (one["status"] != "ok") for one in findings)


def test_what_fails_is_marked_with_its_fix_and_the_exit_code_is_1() -> None:
    Path("models/shapes/1", GRAPH_FILE).write_bytes(b"other")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        result = run("--set", f"server.port={sock.getsockname()[1]}")
    assert isinstance(result.exception, DoctorError)
    assert result.exception.exit_code == 1
    assert str(result.exception).endswith(" fail: models shapes 1, service port")
    assert "✗  shapes 1" in result.stdout
    assert "→ copy the bundle again" in result.stdout


def test_a_broken_config_is_a_finding_and_the_rest_is_looked_at() -> None:
    Path("serve.toml").write_text("[server\n")
    asked = Examination(config=Path("serve.toml"))
    found = examine(asked, start_probe=lambda: Probe((sys.executable, "-c", "")))
    findings = {(one.section, one.name): one for one in found}
    assert findings["settings", "load"].status == "fail"
    assert findings["models", "shapes 1"].status == "ok"
