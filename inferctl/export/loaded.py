"""What every kind of checkpoint becomes before its graph is drawn, and how one gets there."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inferctl.bundles.manifest import NAME_PATTERN, File, ImageInput, Task, TextInput
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.sniff import INDEX_FILE

if TYPE_CHECKING:
    from torch import nn

_MAX_CARD_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts(ABC):
    """What a bundle will say of its model, whatever the model is before its graph is made.

    `sha256` is that of the file `weights`; of an index, of it and its shards in the order of their
    names, and `shards` has each alone. `mean` and `std` are of values in 0..1.
    """

    task: Task
    name: str
    labels: tuple[str, ...]
    weights: Path
    sha256: str
    shards: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    image: ImageInput | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    text: TextInput | None = None
    tokenizer: bytes | None = None
    card: bytes | None = None

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of trained values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel(ModelFacts):
    """A module in evaluation mode on the CPU in float32.

    Image modules take float32 [rows, 3, height, width], normalised; text modules take `input_ids`
    and `attention_mask`, int64 [rows, tokens]. Classifiers return logits [rows, labels], detectors
    `boxes`, `scores`, `labels`.
    """

    module: nn.Module

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def weight_bytes(self) -> int:
        """Size of parameters and buffers in memory."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def name_from(path: Path) -> str:
    """Derive a model's name from a file or folder name; raises UsageError when nothing is left."""
    if path.name == INDEX_FILE:
        path = path.resolve().parent
    stem = path.resolve().name if path.is_dir() else path.stem
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64]
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"no name can be made of {stem!r}", where="--name", hint="give one")
    return name


def file_sha256(path: Path) -> str:
    """Hash a checkpoint file; raises CheckpointError when it cannot be read."""
    try:
        return File.of(path).sha256
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None


def read_card(path: Path | None) -> bytes | None:
    """Read a model card; raises UsageError when it cannot be read or is over 1 MB."""
    if path is None:
        return None
    try:
        card = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the card: {error.strerror}", where=str(path)) from None
    if len(card) > _MAX_CARD_BYTES:
        raise UsageError("the card is over 1 MB", where=str(path))
    return card
