"""The command: a table, a file, an exit code, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inferctl.export import ExportResult

from ..graphs import image_fields, image_graph, write_bundle
from . import damage
from .damage import damaged

Published = dict[str, ExportResult]


def inferctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inferctl", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sound_bundle_gives_a_table_and_a_file(published: Published, tmp_path: Path) -> None:
    path = published["image-detection"].path
    done = inferctl(path, "--against", path, "--json", tmp_path / "check.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "each row alone" in done.stdout
    assert "8 rows, one thread: the other" in done.stdout
    document = json.loads((tmp_path / "check.json").read_text())
    assert document["passed"] is True
    assert document["agreement"]["drop"] == 0
    assert [speed["rows"] for speed in document["speed"]] == [1, 8]
    assert "files" in {line["name"] for line in document["checks"]}


def test_a_fault_is_one_line_that_names_its_sample_and_exit_code_6(
    published: Published, tmp_path: Path
) -> None:
    path = published["image-classification"].path
    bundle = damaged(path, tmp_path / "1", damage.divide_by_zero)
    done = inferctl(bundle, "--json", tmp_path / "check.json")
    assert done.returncode == 6
    assert done.stderr == (
        "inferctl: samples: scores holds NaN or infinity "
        f"({bundle}, sample a black and a white picture)\n"
    )
    (fault,) = [
        fault
        for line in json.loads((tmp_path / "check.json").read_text())["checks"]
        for fault in line["faults"]
    ]
    assert fault["sample"] == "a black and a white picture"


def test_a_damaged_bundle_is_exit_code_3(tmp_path: Path) -> None:
    done = inferctl(tmp_path)
    assert done.returncode == 3
    assert "not a bundle" in done.stderr


@pytest.mark.parametrize(("device", "code"), [("gpu", 2), ("cuda:0,1", 2), ("cuda", 3)])
def test_a_device_that_is_none_or_not_there_is_one_line(
    device: str, code: int, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "1", image_graph(), image_fields())
    done = inferctl(tmp_path / "1", "--device", device)
    assert done.returncode == code
    assert done.stderr.startswith("inferctl: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_report_that_cannot_be_written_is_exit_code_5(
    published: Published, tmp_path: Path
) -> None:
    done = inferctl(published["image-classification"].path, "--json", tmp_path / "no" / "file")
    assert done.returncode == 5
    assert "cannot write the file" in done.stderr


def test_a_check_needs_neither_torch_nor_onnx(published: Published) -> None:
    path = published["text-classification"].path
    code = (
        "import sys; from pathlib import Path; from inferctl.check import *; "
        f"report = check_bundle(CheckRequest(Path({str(path)!r}), against=Path({str(path)!r}))); "
        "sys.exit(len(report.failed) or bool({'torch', 'onnx', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
