"""Reads the records of a torch archive, and writes those that were checked into a new one.

torch has a zip reader of its own, and two readers can be made to see two files in one. What torch
loads of an archive that it would trust is therefore written here, record by record.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

from inferctl.errors import CheckpointError
from inferctl.export.foreign import first_line

_ROOT = "archive"
_CHUNK_BYTES = 1 << 20
_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # encrypted, or a method that is not implemented
    zipfile.BadZipFile,
    zlib.error,
)


def check_records(path: Path) -> None:
    """Hold every record against its CRC-32, which torch writes and never looks at.

    Raises CheckpointError naming the first that was changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                # torch.serialization.set_crc32_options(False) leaves it out.
                if record.CRC:
                    with archive.open(record) as stream:
                        while stream.read(_CHUNK_BYTES):
                            pass
    except _ERRORS as error:
        raise damaged(path, error) from None


def read_records(path: Path) -> dict[str, bytes]:
    """Return every record by its name below the archive's own folder.

    Raises CheckpointError when the archive is damaged or names a record twice.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            records = {name.partition("/")[2]: archive.read(name) for name in names}
    except _ERRORS as error:
        raise damaged(path, error) from None
    if len(records) < len(names):
        raise CheckpointError("two of its records have the same name", where=str(path))
    return records


def written(records: dict[str, bytes]) -> io.BytesIO:
    """Write an archive of `records` into memory; empties `records`, to hold the weights once."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in list(records):
            archive.writestr(f"{_ROOT}/{name}", records.pop(name))
    stream.seek(0)
    return stream


def damaged(path: Path, error: Exception) -> CheckpointError:
    """Say of a checkpoint that `error` came up where its format was expected."""
    return CheckpointError(
        f"it is cut short or damaged: {first_line(error)}",
        where=str(path),
        hint="copy or download it again",
    )
