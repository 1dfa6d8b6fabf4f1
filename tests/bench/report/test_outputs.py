"""Every form is written whole or not at all, and what cannot be is known before."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.bench.report.outputs import Outputs
from inferctl.errors import OutputError, UsageError
from tests.bench.made import report

NAMES = ("json", "html", "markdown", "csv", "junit")


def outputs(folder: Path) -> Outputs:
    return Outputs(**{name: folder / name for name in NAMES})  # type: ignore[arg-type]


def test_each_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "json").write_text("old")
    wanted = outputs(tmp_path)
    wanted.check()
    wanted.write(report())
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES}
    assert [(tmp_path / name).read_text()[:9] for name in NAMES] == [
        '{\n  "sche', "<!doctype", "## Measur", "Type,Name", "<?xml ver",
    ]  # fmt: skip


def test_nothing_is_written_that_is_not_wanted(tmp_path: Path) -> None:
    Outputs().check()
    Outputs().write(report())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a folder is there already .*--html names a file"):
        Outputs(html=tmp_path).check()
    with pytest.raises(OutputError, match="cannot write the file: Is a directory"):
        Outputs(html=tmp_path).write(report())
    assert list(tmp_path.parent.glob(f".{tmp_path.name}*")) == []


def test_a_folder_that_is_missing_is_found_before(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write there .*--csv takes a file in a folder"):
        Outputs(csv=tmp_path / "none" / "a.csv").check()


def test_two_forms_do_not_go_into_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--json and --junit name one file"):
        Outputs(json=Path("a"), junit=tmp_path / "a").check()
