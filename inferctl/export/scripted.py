"""Loads TorchScript: a module that is run by torch's own interpreter, not by Python."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from inferctl.errors import UntrustedCheckpoint
from inferctl.export.archive import damaged, read_records, written
from inferctl.export.foreign import FOREIGN_ERRORS, clean
from inferctl.export.quiet import quiet

# The interpreter reaches the machine by these alone: operators that write and map files, classes
# and operators of other libraries. A state's `__setstate__` already runs while it is loaded.
_REACHING = re.compile(
    r"[.\"'][\s\\]*(?:save|from_file|load)\b"
    r"|\btorch[\s\\]*\.[\s\\]*classes\b"
    r"|(?<![\w.])ops\b(?![\s\\]*\.[\s\\]*(?:aten|prim|prims|quantized)\b)"
    r"|getattr[\s\\]*\([^)]*\\"
)


def load_script(path: Path) -> nn.Module:
    """Load a TorchScript archive onto the CPU, in float32 and evaluation mode.

    Raises UntrustedCheckpoint when its code uses files or other libraries, CheckpointError when it
    is damaged.
    """
    records = read_records(path)
    for name in sorted(records):
        if name.startswith("code/"):
            _check_source(records[name].decode("utf-8", "replace"), path)
    try:
        with quiet():
            module: nn.Module = torch.jit.load(written(records), map_location="cpu")  # type: ignore[no-untyped-call]
            module = module.cpu().float()
            # A frozen module has no mode to change: it was frozen in this one.
            return module.eval() if hasattr(module, "training") else module
    except FOREIGN_ERRORS as error:
        raise damaged(path, error) from None


def _check_source(source: str, path: Path) -> None:
    found = _REACHING.search(source)
    if found is not None:
        raise UntrustedCheckpoint(
            clean(f"its code reaches beyond tensors: {found[0]!r}"),
            where=str(path),
            hint="save the model's state_dict and pass --factory package.module:function",
        )
