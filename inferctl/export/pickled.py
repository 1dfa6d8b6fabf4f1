"""Unpickles a checkpoint whose author the person trusts; the one place that runs what is in one."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import torch

from inferctl.errors import CheckpointError, UntrustedCheckpoint, UsageError
from inferctl.export.archive import check_records
from inferctl.export.checkpoint import TRUST_FLAG, read_torch, shown_names
from inferctl.export.factory import CALL_ERRORS, import_from_here
from inferctl.export.foreign import first_line
from inferctl.export.pickles import imported_names
from inferctl.export.sniff import Kind

_PICKLES = (Kind.TORCH_ZIP, Kind.TORCH_LEGACY)


def load_trusted(path: Path, kind: Kind) -> tuple[object, str]:
    """Unpickle a torch.save file, which runs its code; return its content and a note of that.

    Says on stderr first who is trusted: file, sha256, what it imports. The very bytes that were
    hashed are loaded. Raises UsageError where nothing needs to be trusted, CheckpointError when the
    file cannot be read or its code fails.
    """
    check_pickle(kind)
    if kind is Kind.TORCH_ZIP:
        check_records(path)
    if _loads_safely(path):
        raise _needless("the checkpoint")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None
    trusted = f"(sha256 {hashlib.sha256(data).hexdigest()}) to run {_names(data)}"
    sys.stderr.write(f"inferctl: trusting the author of {path} {trusted}\n")
    # The classes are the person's own, and their project is the folder they are in.
    import_from_here()
    try:
        content: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except CALL_ERRORS as error:
        raise CheckpointError(
            f"it cannot be unpickled: {type(error).__name__}: {first_line(error)}",
            where=str(path),
            hint="run the command in the project's folder, or install the project",
        ) from None
    return content, f"unpickled by {TRUST_FLAG}, trusting its author {trusted}"


def check_pickle(kind: Kind) -> None:
    """Raise UsageError for a checkpoint that no pickle is loaded of."""
    if kind not in _PICKLES:
        raise _needless(kind.value)


def _needless(what: str) -> UsageError:
    return UsageError(
        f"{what} loads without trusting anybody", where=TRUST_FLAG, hint="leave it out"
    )


def _loads_safely(path: Path) -> bool:
    try:
        read_torch(path)
    except UntrustedCheckpoint:
        return False
    return True


def _names(data: bytes) -> str:
    return shown_names(imported_names(io.BytesIO(data))) or "whatever is in it"
