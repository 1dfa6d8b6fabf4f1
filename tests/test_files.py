"""Files are written whole or not at all, and one that is there is not lost by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.errors import OutputError
from inferctl.files import write_new, write_whole


def test_a_new_file_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_new(tmp_path / "a.toml", "one\n", force=False)
    assert (tmp_path / "a.toml").read_text() == "one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


def test_one_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("mine\n")
    with pytest.raises(OutputError, match="the file exists already") as caught:
        write_new(path, "other\n", force=False)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "mine\n"
    write_new(path, "other\n", force=True)
    assert path.read_text() == "other\n"
    assert [found.name for found in tmp_path.iterdir()] == ["a.toml"]


@pytest.mark.parametrize("force", [False, True])
def test_what_cannot_be_written_is_one_line(force: bool, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory") as caught:
        write_new(tmp_path / "absent" / "a.toml", "one", force=force)
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="No such file or directory"):
        write_whole(tmp_path / "absent" / "a.json", b"{}")
