"""Reads the weights of a checkpoint file without ever running what is in it."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from inferctl.errors import CheckpointError, UntrustedCheckpoint, UsageError
from inferctl.export.archive import check_records, damaged
from inferctl.export.foreign import FOREIGN_ERRORS, clean, type_of
from inferctl.export.lightning import is_lightning, plain_hyperparameters
from inferctl.export.pickles import imported_names, is_ordinary
from inferctl.export.sharded import read_shards
from inferctl.export.sniff import Kind

# Averaged weights come first: who keeps them, evaluates them.
NESTED_KEYS = (
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "net",
    "weights",
    "shadow",
)
# Long, so that nobody passes it by habit; no setting has it.
TRUST_FLAG = "--unsafe-load-pickle-and-trust-its-author"
_MAX_DEPTH = 4
_MAX_NAMES = 6
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True, slots=True)
class Weights:
    """A flat state dict as the file names it, and what a person should know of how it was found.

    `lightning`: the names begin with the attributes of a LightningModule, of which the model is
    one. `hyperparameters` are what it was built with.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    lightning: bool = False
    hyperparameters: Mapping[str, object] = field(default_factory=dict)


def load_weights(path: Path, kind: Kind, key: str | None = None) -> Weights:
    """Read the tensors of torch.save or safetensors files; `key` names the nested dict to use.

    Raises UntrustedCheckpoint when loading would run code, CheckpointError when the file is damaged
    or holds no weights, UsageError when `key` is not in it.
    """
    if kind in (Kind.SAFETENSORS, Kind.SHARDED):
        if key is not None:
            raise UsageError(
                "a safetensors file has no nested weights",
                where="--weights-key",
                hint="leave it out",
            )
        tensors = _read_safetensors(path) if kind is Kind.SAFETENSORS else read_shards(path)
        return find_weights(tensors, key, where=str(path))
    if kind is Kind.TORCH_ZIP:
        check_records(path)
    return find_weights(read_torch(path), key, where=str(path))


def find_weights(content: object, key: str | None, *, where: str) -> Weights:
    """Descend from what a file holds to its state dict, preferring averaged weights."""
    notes: list[str] = []
    lightning = is_lightning(content)
    hyperparameters = plain_hyperparameters(content) if lightning else {}
    if key is not None:
        content = _at_key(content, key)
    for _ in range(_MAX_DEPTH):
        found = _nested_keys(content)
        if not found:
            break
        others = ", ".join(repr(name) for name in found[1:])
        notes.append(
            f"weights taken from {found[0]!r}"
            + (f" (also there: {others}; choose with --weights-key)" if others else "")
        )
        content = _mapping(content)[found[0]]
    entries = _mapping(content)
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            "it holds no weights: " + _describe(content),
            where=where,
            hint="save `model.state_dict()`, or name the right entry with --weights-key",
        )
    ignored = sorted(set(entries) - set(tensors))
    if ignored:
        notes.append(f"ignored {len(ignored)} entries that are not tensors, such as {ignored[0]!r}")
    return Weights(tensors, tuple(clean(note) for note in notes), lightning, hyperparameters)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path, device="cpu")
    except FOREIGN_ERRORS as error:
        raise damaged(path, error) from None


def read_torch(path: Path) -> object:
    """Read a torch.save file of plain values and tensors.

    Raises UntrustedCheckpoint when that would take more, CheckpointError when it is damaged.
    """
    try:
        # By a path named .safetensors, torch.load would not look at the content.
        with path.open("rb") as stream, warnings.catch_warnings():
            # The loader warns of old pickle protocols before it refuses or reads them.
            warnings.filterwarnings("ignore", category=UserWarning, module="torch")
            content: object = torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _untrusted(path, str(error)) from None
    except FOREIGN_ERRORS as error:
        raise damaged(path, error) from None
    return content


def shown_names(names: tuple[str, ...]) -> str:
    """List what a pickle imports in one clean line, the first six by name."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return clean(", ".join(names[:_MAX_NAMES])) + more


def _untrusted(path: Path, text: str) -> UntrustedCheckpoint:
    found = _GLOBAL.search(text)
    try:
        with path.open("rb") as stream:
            names = imported_names(stream)
    except OSError:
        names = ()
    # What the loader stumbled over is always named, also when the list did not see it.
    if found and found[1] not in names and not is_ordinary(found[1]):
        names = (found[1], *names)
    named = shown_names(names)
    return UntrustedCheckpoint(
        f"loading it would import and call {named}"
        if named
        else "it holds more than plain tensors, or is damaged",
        where=str(path),
        hint="save only `model.state_dict()` (plain tensors) with torch.save or as safetensors; "
        f"if its author may run code on this machine, {TRUST_FLAG}",
    )


def _mapping(content: object) -> dict[str, object]:
    """The string-keyed entries of `content`; empty when it is no mapping."""
    if not isinstance(content, Mapping):
        return {}
    return {name: value for name, value in content.items() if isinstance(name, str)}


def _nested_keys(content: object) -> list[str]:
    entries = _mapping(content)
    return [name for name in NESTED_KEYS if _holds_tensors(entries.get(name), _MAX_DEPTH)]


def _holds_tensors(content: object, depth: int) -> bool:
    values = _mapping(content).values()
    if any(isinstance(value, Tensor) for value in values):
        return True
    return depth > 0 and any(_holds_tensors(value, depth - 1) for value in values)


def _at_key(content: object, key: str) -> object:
    """The entry called `key`; dots descend where no entry has the whole name."""
    entries = _mapping(content)
    if key in entries:
        return entries[key]
    head, _, rest = key.partition(".")
    if rest and head in entries:
        return _at_key(entries[head], rest)
    raise UsageError(
        f"the checkpoint has no entry {key!r}: {_describe(content)}", where="--weights-key"
    )


def _describe(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"{type_of(content)}, not a dict"
    names = ", ".join(repr(name) for name in list(content)[:6])
    return clean(f"its keys are {names}") if names else "the dict is empty"
