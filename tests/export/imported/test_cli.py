"""The command: flags in, exit codes and one line out, and bundles like those of an export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, MANIFEST_FILE, Checkpoint, File
from inferctl.bundles.repository import open_bundle
from inferctl.check import CheckRequest, check_bundle
from inferctl.export.imported.pipeline import import_bundle
from inferctl.export.imported.request import ImportRequest
from inferctl.export.runtime import Model

from . import graphs
from .conftest import Import
from .graphs import save


def inferctl(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inferctl", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_an_import_from_the_command_line(tmp_path: Path) -> None:
    save(graphs.yolov8(), tmp_path / "Shapes.onnx")
    done = inferctl(
        "import", "Shapes.onnx", "--max-detections", "50", "--external-data-mb", "0", cwd=tmp_path
    )
    assert (done.returncode, done.stderr.count("✓")) == (0, 4), done.stderr
    assert "largest difference to the imported file" in done.stdout.replace("\n", " ")
    path = tmp_path / "models" / "shapes" / "1"
    report = json.loads((path / "report.json").read_bytes())
    assert report["checkpoint"]["file"] == "Shapes.onnx"
    assert set(report["versions"]) == {"python", "onnx", "onnxruntime"}
    assert open_bundle(path).manifest.outputs[1].shape == ("rows", 50)
    assert (path / DATA_FILE).is_file()
    listed = inferctl("models", cwd=tmp_path)
    assert "shapes" in listed.stdout
    assert "intact" in listed.stdout


@pytest.mark.parametrize(
    ("model", "code", "text"),
    [
        (graphs.first_row_only(), 6, "against the imported file"),
        (None, 4, "is no ONNX file"),
    ],
)
def test_a_failure_is_one_line_an_exit_code_and_no_bundle(
    tmp_path: Path, model: object, code: int, text: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString() if model else b"no")  # type: ignore[attr-defined]
    done = inferctl("import", path, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if line.strip() and "✓" not in line]
    assert (done.returncode, len(said)) == (code, 1), done.stderr
    assert text in said[0]
    assert not (tmp_path / "models").exists()


def test_neither_torch_nor_transformers_is_needed() -> None:
    code = (
        "import sys; import inferctl.export.imported.pipeline; "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_another_precision_is_held_against_fp32(imported: Import, precision: str) -> None:
    result = imported(graphs.yolov8(), precision=precision)
    assert result.manifest.precision == precision
    assert result.conversion is not None
    assert not check_bundle(CheckRequest(result.path)).failed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_over_the_limit_lie_beside_the_graph(imported: Import, precision: str) -> None:
    """Whole and parted bundles answer alike, and each passes its check."""
    parted = imported(graphs.yolov8(), precision=precision, data_over_bytes=1_000)
    whole = imported(graphs.yolov8(), precision=precision)

    assert parted.manifest.files[DATA_FILE].bytes == (parted.path / DATA_FILE).stat().st_size
    assert DATA_FILE not in whole.manifest.files
    feeds = {"image": graphs.picture(graphs.SIDE, graphs.SIDE)[None]}
    names = [tensor.name for tensor in whole.manifest.outputs]
    for one, other in zip(
        *(Model(made.path / GRAPH_FILE).run(names, feeds, "").values() for made in (parted, whole)),
        strict=True,
    ):
        assert np.array_equal(one, other)
    assert not check_bundle(CheckRequest(parted.path)).failed


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_same_file_makes_the_same_bundle_and_its_hash_stands_there(
    imported: Import, tmp_path: Path, precision: str
) -> None:
    parts = {"name": "same", "precision": precision}
    first = imported(graphs.yolov8(), **parts)
    renamed = (tmp_path / "net.onnx").rename(tmp_path / "best.onnx")
    again = import_bundle(ImportRequest(renamed, output=tmp_path / "again", **parts))  # type: ignore[arg-type]

    assert again.manifest == first.manifest
    for name in (MANIFEST_FILE, *first.manifest.files):
        assert (again.path / name).read_bytes() == (first.path / name).read_bytes(), name
    assert first.manifest.checkpoint == Checkpoint(sha256=File.of(renamed).sha256)
