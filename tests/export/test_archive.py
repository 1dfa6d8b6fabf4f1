"""Archives are read record by record, and written anew."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from inferctl.errors import CheckpointError
from inferctl.export.archive import check_records, read_records, written


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


def test_a_flipped_byte_of_a_weight_is_found_and_its_record_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.full((64, 64), 7.0)}, path)
    check_records(path)

    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor([7.0, 7.0]).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(data)

    # torch itself loads it, as another number.
    assert len(torch.load(path, weights_only=True)["weight"].unique()) == 2
    with pytest.raises(CheckpointError, match=r"Bad CRC-32 for file 'weights/data/0'") as caught:
        check_records(path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_was_saved_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"weight": torch.full((64, 64), 7.0)}, tmp_path / "weights.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    check_records(tmp_path / "weights.pt")
