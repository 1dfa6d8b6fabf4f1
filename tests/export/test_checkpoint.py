"""What a checkpoint is, and that reading one never runs it."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from inferctl.errors import CheckpointError, UntrustedCheckpoint, UsageError
from inferctl.export import sniff as sniff_module
from inferctl.export.checkpoint import Weights, find_weights, load_weights
from inferctl.export.sniff import Kind, sniff

from .conftest import save_torch
from .kinds import lightning_content

STATE = {"weight": torch.zeros(40, 40), "bias": torch.ones(40)}


def load(path: Path, key: str | None = None) -> Weights:
    return load_weights(path, sniff(path), key)


def zipped(
    path: Path, names: list[str], data: bytes = b"", method: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_both_torch_formats_are_read_whatever_their_name(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "weights.txt"
    torch.save(STATE, path, _use_new_zipfile_serialization=not legacy)
    assert sniff(path) is (Kind.TORCH_LEGACY if legacy else Kind.TORCH_ZIP)
    assert set(load(path).tensors) == set(STATE)


def test_safetensors_are_read_whatever_their_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.pt")
    assert sniff(tmp_path / "weights.pt") is Kind.SAFETENSORS
    assert set(load(tmp_path / "weights.pt").tensors) == set(STATE)
    with pytest.raises(UsageError, match="no nested weights"):
        load(tmp_path / "weights.pt", "ema")


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.row(177)
@pytest.mark.parametrize(
    "kind", ["zip", "legacy", "raw", "module", "evil module", "lightning", "namespace"]
)
def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    if kind == "raw":
        path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    elif kind == "module":
        torch.save(nn.Linear(2, 2), path)
    elif kind == "evil module":
        module = nn.Linear(2, 2)
        module.extra = Evil(marker)
        torch.save(module, path)
    elif kind == "lightning":
        torch.save(lightning_content(STATE, hook=Evil(marker)), path)
    elif kind == "namespace":
        torch.save({"state_dict": STATE, "args": io.BytesIO()}, path)
    else:
        torch.save({"w": Evil(marker)}, path, _use_new_zipfile_serialization=kind == "zip")

    with pytest.raises(UntrustedCheckpoint) as caught:
        load(path)

    text = str(caught.value)
    assert not marker.exists()
    assert "\x1b" not in text
    assert "\n" not in text
    assert "state_dict" in text
    assert caught.value.code == "untrusted_checkpoint"


@pytest.mark.row(177)
def test_the_refusal_names_what_would_be_called(tmp_path: Path) -> None:
    with pytest.raises(UntrustedCheckpoint, match=r"import and call (posix|nt)\.system"):
        load(save_torch({"w": Evil(tmp_path / "marker")}, tmp_path / "evil.pt"))


@pytest.mark.row(177)
def test_a_newer_pickle_is_refused_without_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path / "raw.pkl", pickle.dumps({"a": [1]}, protocol=4))
    with pytest.raises(UntrustedCheckpoint, match="or is damaged"):
        load(path)


@pytest.mark.row(178)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_checkpoint_says_so(tmp_path: Path, kind: str, part: float) -> None:
    whole, path = tmp_path / "whole", tmp_path / "part.pt"
    if kind == "safetensors":
        save_file(STATE, whole)
    else:
        torch.save(STATE, whole, _use_new_zipfile_serialization=kind == "zip")
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(CheckpointError, match="cut short or damaged") as caught:
        load(path)
    assert "again" in caught.value.hint


def test_an_exported_program_of_an_old_format_is_named(tmp_path: Path) -> None:
    old = zipped(tmp_path / "old.pt2", ["serialized_exported_program.json", "version"])
    with pytest.raises(CheckpointError, match=r"an old format .*save it again with torch"):
        sniff(old)


def test_only_the_source_of_a_script_may_be_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "script.pt"
    names = ["m/constants.pkl", "m/code/a.py"]
    zipped(path, names, b"\0" * 1000, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="its records are compressed"):
        sniff(path)
    zipped(path, names[:1])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/code/a.py", b"\0" * 100_000)
    assert sniff(path) is Kind.TORCHSCRIPT
    monkeypatch.setattr(sniff_module, "_MAX_SOURCE_BYTES", 99_999)
    with pytest.raises(CheckpointError, match="more source code"):
        sniff(path)


@pytest.mark.row(178)
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the file is empty"),
        (b"conv.weight = 3\n", "it is a text file"),
        ("naïve ".encode() * 200, "it is a text file"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"Git LFS pointer .*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (b"GGUF0000", "GGUF"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x93NUMPY\x01\x00", "NumPy array"),
        (b"\x00\xff\x00\xff", "not a format that is known"),
        (b"\xff\xfe\xff\xfe", "not a format that is known"),
        (struct.pack("<Q", 10**12) + b"{", "not a format that is known"),
        (struct.pack("<Q", 4000) + b'{"a"', "a safetensors file but is cut short"),
        (b"PK\x03\x04 and no more", "a zip archive but is cut short"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        sniff(written(tmp_path / "file.pt", data))


@pytest.mark.row(178)
@pytest.mark.parametrize(
    ("names", "text"), [(["a.npy"], "NumPy archive"), (["notes.txt"], "without a checkpoint")]
)
def test_other_archives_are_named(tmp_path: Path, names: list[str], text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        sniff(zipped(tmp_path / "file.pt", names))


@pytest.mark.row(179)
def test_compressed_records_are_refused_before_they_are_expanded(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.pt", ["m/data.pkl"], b"\0" * 10_000_000, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="its records are compressed"):
        sniff(path)


@pytest.mark.row(179)
def test_records_that_claim_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "liar.pt", ["m/data.pkl"], b"abcd")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    with pytest.raises(CheckpointError, match="compressed"):
        sniff(written(path, bytes(data)))


@pytest.mark.row(179)
def test_a_zip_directory_of_a_million_records_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniff_module, "MAX_ZIP_DIRECTORY", 1000)
    path = zipped(tmp_path / "many.pt", [f"m/{n}" for n in range(100)])
    with pytest.raises(CheckpointError, match="far more records"):
        sniff(path)


@pytest.mark.parametrize("zipped_file", [True, False])
def test_a_torch_file_is_known_by_its_content(tmp_path: Path, zipped_file: bool) -> None:
    path = tmp_path / "model.safetensors"
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped_file)
    assert set(load(path).tensors) == set(STATE)


def test_the_size_of_a_zip64_directory_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)
    path = zipped(tmp_path / "zip64.pt", ["m/data.pkl", *(f"m/{n}" for n in range(9))])
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = b"\xff" * 4
    assert sniff(written(path, bytes(data))) is Kind.TORCH_ZIP

    locator = data.rindex(b"PK\x06\x07")
    data[locator + 8 : locator + 16] = struct.pack("<Q", 2**62)
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        sniff(written(path, bytes(data)))
    data[locator : locator + 4] = b"----"
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        sniff(written(path, bytes(data)))


@pytest.mark.row(178)
def test_what_is_no_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="not a plain file"):
        sniff(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"no such checkpoint .*; give a torch\.save"):
        sniff(tmp_path / "none")
    with pytest.raises(
        CheckpointError, match=r"without config\.json or model\.safetensors\.index\.json"
    ):
        sniff(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read it"):
        sniff(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"model_state_dict": STATE, "epoch": 3}, "'model_state_dict'"),
        ({"state_dict": {"model": STATE}}, "'model'"),
        (
            {"state_dict": STATE, "ema_state_dict": STATE},
            "'ema_state_dict' (also there: 'state_dict'",
        ),
        ({"model": STATE, "ema": {"decay": 0.9, "shadow": STATE}}, "'shadow'"),
        ({"model": STATE, "ema": None}, "'model'"),
    ],
)
def test_nested_weights_are_found_and_reported(content: dict[str, object], note: str) -> None:
    found = find_weights(content, None, where="file.pt")
    assert set(found.tensors) == set(STATE)
    assert any(note in text for text in found.notes)


def test_a_key_chooses_the_weights() -> None:
    other = {"weight": torch.ones(1)}
    content = {"state_dict": other, "ema": STATE, "nets": {"teacher": STATE}}
    assert set(find_weights(content, "state_dict", where="f").tensors) == {"weight"}
    assert set(find_weights(content, "nets.teacher", where="f").tensors) == set(STATE)
    with pytest.raises(UsageError, match=r"no entry 'student': its keys are 'state_dict'"):
        find_weights(content, "student", where="f")


def test_entries_that_are_not_tensors_are_left_aside_and_reported() -> None:
    found = find_weights({**STATE, "epoch": 3}, None, where="f")
    assert set(found.tensors) == set(STATE)
    assert found.notes == ("ignored 1 entries that are not tensors, such as 'epoch'",)


@pytest.mark.row(178)
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "the dict is empty"),
        ([1], "a list, not a dict"),
        ({"epoch": 3}, "its keys are 'epoch'"),
    ],
)
def test_a_checkpoint_without_weights_is_refused(content: object, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        find_weights(content, None, where="file.pt")


@pytest.mark.row(179)
def test_a_view_larger_than_memory_costs_nothing(tmp_path: Path) -> None:
    """A stride of 0 makes terabytes of one number: only its shape is looked at."""
    path = save_torch({"weight": torch.zeros(1).expand(2**40)}, tmp_path / "view.pt")
    assert load(path).tensors["weight"].shape == (2**40,)
    assert np.prod(load(path).tensors["weight"].shape) == 2**40
