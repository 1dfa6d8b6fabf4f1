"""Archives are read record by record, and written anew."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest

from inferctl.errors import CheckpointError
from inferctl.export.archive import read_records, written


def archive_of(path: Path, *records: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, data in records:
            archive.writestr(name, data)
    return path


def test_records_are_named_below_the_archives_folder(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.pt", ("m/data.pkl", b"1"), ("m/data/0", b"2"))
    assert read_records(path) == {"data.pkl": b"1", "data/0": b"2"}


def test_what_is_written_reads_the_same_and_is_held_once(tmp_path: Path) -> None:
    records = {"data.pkl": b"1", "data/0": b"2"}
    (tmp_path / "b.pt").write_bytes(written(records).getvalue())
    assert records == {}
    assert read_records(tmp_path / "b.pt") == {"data.pkl": b"1", "data/0": b"2"}


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    """Readers differ in which of them they take."""
    path = archive_of(tmp_path / "a.pt", ("m/data.pkl", b"1"), ("m/data.pkl", b"2"))
    with pytest.raises(CheckpointError, match="two of its records have the same name"):
        read_records(path)


def test_a_record_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.pt", ("m/data.pkl", b"content"))
    path.write_bytes(path.read_bytes().replace(b"content", b"changed"))
    with pytest.raises(CheckpointError, match="cut short or damaged: Bad CRC"):
        read_records(path)
