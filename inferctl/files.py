"""Writing a file whole or not at all, and knowing before that it can be."""

from __future__ import annotations

import os
from pathlib import Path

from inferctl.errors import OutputError


def check_writable(path: Path, option: str) -> None:
    """Raise OutputError when `path`, the value of `option`, could not be written later."""
    if path.is_dir():
        raise OutputError(
            "a folder is there already", where=str(path), hint=f"{option} names a file"
        )
    folder = path.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            "cannot write there", where=str(path),
            hint=f"{option} takes a file in a folder that exists and is writable",
        )  # fmt: skip


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step, whatever was there before. Raises OutputError."""
    partial = _beside(path)
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write the file: {error.strerror}", where=str(path)) from None


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file in one step, over one that is there with `force` alone. Raises OutputError."""
    partial = _beside(path)
    try:
        try:
            partial.write_text(text, encoding="utf-8")
            if not force:
                path.touch(exist_ok=False)  # the name is ours, or somebody else's
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError:
        raise OutputError(
            "the file exists already", where=str(path), hint="name another, or say --force"
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write the file: {error.strerror}", where=str(path), hint="name another"
        ) from None


def _beside(path: Path) -> Path:
    # Not `with_name`, which a path such as `.` has not.
    return path.parent / f".{path.name}.{os.getpid()}.tmp"
