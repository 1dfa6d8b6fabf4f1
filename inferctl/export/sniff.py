"""Says what a checkpoint is from its first bytes and its zip directory, never from its name.

Reads headers only: nothing is unpickled, and no record is expanded.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from enum import Enum
from pathlib import Path

from inferctl.errors import CheckpointError

# A state dict of 100,000 tensors has a zip directory of about 10 MB.
MAX_ZIP_DIRECTORY = 16 * 1024 * 1024
# Records lie uncompressed in a file that is at least as large; the rest is room for rounding.
MAX_EXPANSION = 1.1
_MAX_SAFETENSORS_HEADER = 100_000_000
_HEAD_BYTES = 512
_END_OF_DIRECTORY = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"

# What save_pretrained calls the index of weights that it wrote in several files.
INDEX_FILE = "model.safetensors.index.json"
MAX_INDEX_BYTES = 16 * 1024 * 1024
# TorchScript compresses its source and nothing else.
_MAX_SOURCE_BYTES = 64 * 1024 * 1024

_GIVE = (
    "give a torch.save, TorchScript, torch.export or safetensors file, or a Hugging Face directory"
)
_SAVE_WEIGHTS = "save `model.state_dict()` and pass --factory package.module:function"
# (the file's first bytes, what it is, what to do)
_FOREIGN_HEADS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)", "export it from its own framework"),
    (b"GGUF", "a GGUF file (llama.cpp)", "use the PyTorch or safetensors weights it was made from"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"<!DOCTYPE", "a web page, probably a failed download", "download the file again"),
    (b"<html", "a web page, probably a failed download", "download the file again"),
    (b"\x93NUMPY", "a NumPy array", _SAVE_WEIGHTS),
)


class Kind(Enum):
    """The checkpoints that can be exported."""

    TORCH_ZIP = "a torch.save file"
    TORCH_LEGACY = "a torch.save file of the old format"
    SAFETENSORS = "a safetensors file"
    HF_DIRECTORY = "a Hugging Face directory"
    SHARDED = "an index of safetensors files"
    TORCHSCRIPT = "a TorchScript archive"
    PT2 = "a torch.export program"


def sniff(path: Path) -> Kind:
    """Return what lies at `path`.

    Raises CheckpointError, saying what it is instead and what to do, for everything that is not
    one of `Kind`: missing, not a plain file, empty, truncated, another format.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _sniff_directory(path)
        if not stat.S_ISREG(mode):
            # Opening a FIFO would wait for a writer for ever.
            raise CheckpointError("not a plain file or a directory", where=str(path))
        with path.open("rb") as stream:
            return _sniff_file(path, stream.read(_HEAD_BYTES), path.stat().st_size)
    except FileNotFoundError:
        raise CheckpointError(
            "no such checkpoint",
            where=str(path),
            hint=_GIVE,
        ) from None
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None


def _sniff_directory(path: Path) -> Kind:
    if (path / "config.json").is_file():
        return Kind.HF_DIRECTORY
    if (path / INDEX_FILE).is_file():
        return Kind.SHARDED
    raise CheckpointError(
        f"a directory without config.json or {INDEX_FILE} is no model",
        where=str(path),
        hint="name the weights file in it, or save with `model.save_pretrained(directory)`",
    )


def _sniff_file(path: Path, head: bytes, size: int) -> Kind:
    if not head:
        raise CheckpointError("the file is empty", where=str(path), hint="copy it again")
    for magic, what, hint in _FOREIGN_HEADS:
        if head.startswith(magic):
            raise CheckpointError(f"it is {what}", where=str(path), hint=hint)
    if head.startswith(b"PK"):
        return _sniff_zip(path, size)
    if _looks_like_safetensors(head):
        return _sniff_safetensors(path, head, size)
    if head[0] == 0x80:
        return Kind.TORCH_LEGACY
    if head.lstrip().startswith(b"{") and _is_index(path):
        return Kind.SHARDED
    what = "a text file" if _is_text(head) else "not a format that is known here"
    raise CheckpointError(
        f"it is {what}",
        where=str(path),
        hint=_GIVE,
    )


def _is_index(path: Path) -> bool:
    with path.open("rb") as stream:
        return b'"weight_map"' in stream.read(MAX_INDEX_BYTES)


def _looks_like_safetensors(head: bytes) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return 2 <= int(struct.unpack_from("<Q", head)[0]) <= _MAX_SAFETENSORS_HEADER


def _sniff_safetensors(path: Path, head: bytes, size: int) -> Kind:
    if 8 + struct.unpack_from("<Q", head)[0] > size:
        raise _truncated(path, "a safetensors file")
    return Kind.SAFETENSORS


def _sniff_zip(path: Path, size: int) -> Kind:
    if _zip_directory_bytes(path, size) > MAX_ZIP_DIRECTORY:
        raise CheckpointError(
            "the archive lists far more records than a model has tensors", where=str(path)
        )
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise _truncated(path, "a zip archive") from None
    if records and min(record.header_offset for record in records) > 0:
        # The directory is that of an archive inside this one, whose own is cut off.
        raise _truncated(path, "a zip archive")
    kind = _zip_kind({record.filename for record in records}, path)
    _check_expansion(records, kind, path, size)
    return kind


def _check_expansion(records: list[zipfile.ZipInfo], kind: Kind, path: Path, size: int) -> None:
    source: list[zipfile.ZipInfo] = []
    rest: list[zipfile.ZipInfo] = []
    for record in records:
        is_source = kind is Kind.TORCHSCRIPT and "/code/" in record.filename
        (source if is_source else rest).append(record)
    stored = all(record.compress_type == zipfile.ZIP_STORED for record in rest)
    if not stored or sum(record.file_size for record in rest) > size * MAX_EXPANSION:
        raise CheckpointError(
            "its records are compressed, which torch never does",
            where=str(path),
            hint="save it again with torch or as safetensors",
        )
    if sum(record.file_size for record in source) > _MAX_SOURCE_BYTES:
        raise CheckpointError("it holds more source code than any model has", where=str(path))


def _zip_kind(names: set[str], path: Path) -> Kind:
    tails = {name.partition("/")[2] for name in names}
    if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
        return Kind.TORCHSCRIPT
    if "archive_format" in tails and any(tail.startswith("models/") for tail in tails):
        return Kind.PT2
    if "serialized_exported_program.json" in names:
        what, hint = (
            "a torch.export program of an old format",
            "save it again with torch 2.9 or newer",
        )
    elif "data.pkl" in tails:
        return Kind.TORCH_ZIP
    elif names and all(name.endswith(".npy") for name in names):
        what, hint = "a NumPy archive (.npz)", _SAVE_WEIGHTS
    else:
        what, hint = "a zip archive without a checkpoint in it", "unpack it first"
    raise CheckpointError(f"it is {what}", where=str(path), hint=hint)


def _zip_directory_bytes(path: Path, size: int) -> int:
    """Size of the zip directory by the archive's end record, before `zipfile` builds objects."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - 65_557))
        tail = stream.read()
        at = tail.rfind(_END_OF_DIRECTORY)
        if at < 0 or len(tail) < at + 22:
            raise _truncated(path, "a zip archive")
        (listed,) = struct.unpack_from("<I", tail, at + 12)
        if listed != 0xFFFFFFFF:
            return int(listed)
        if at < 20 or tail[at - 20 : at - 16] != _ZIP64_LOCATOR:
            raise _truncated(path, "a zip archive")
        stream.seek(min(size, struct.unpack_from("<Q", tail, at - 12)[0]))
        record = stream.read(56)
    if len(record) < 56:
        raise _truncated(path, "a zip archive")
    return int(struct.unpack_from("<Q", record, 40)[0])


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        # The cut may fall into the middle of a character.
        head[: max(1, len(head) - 3)].decode()
    except UnicodeDecodeError:
        return False
    return True


def _truncated(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"it starts like {what} but is cut short or damaged",
        where=str(path),
        hint="copy or download it again",
    )
