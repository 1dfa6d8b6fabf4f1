"""The demo, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inferctl", "demo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.e2e
def test_the_demo_ends_by_itself_and_leaves_bundles_and_reports(tmp_path: Path) -> None:
    result = demo(tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("shapes", "sentiment"):
        assert (tmp_path / "models" / name / "1" / "model.onnx").is_file()
    assert (tmp_path / "reports" / "demo-detections.png").is_file()
    assert json.loads((tmp_path / "reports" / "demo-bench.json").read_text())
    assert "positive  " in result.stdout
    assert "throughput" in result.stdout


def test_the_demo_leaves_other_bundles_alone(tmp_path: Path) -> None:
    own = tmp_path / "models" / "shapes" / "1"
    own.mkdir(parents=True)
    (own / "manifest.json").write_text("mine")

    result = demo(tmp_path)

    assert result.returncode == 2
    assert "--models" in result.stderr
    assert (own / "manifest.json").read_text() == "mine"
