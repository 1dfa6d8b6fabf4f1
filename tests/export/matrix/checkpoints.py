"""Makes the checkpoint of a cell, and the request that a person would make to export it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from inferctl.export import ExportRequest
from tests.export import kinds, tinymodels
from tests.export.huggingface import families
from tests.export.words import write_tokenizer

from . import models
from .cells import DIRECTORIES, OWN, STATE_DICTS, Cell

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.3, 0.35)
CLASSES = ("cat", "dog", "owl", "fox")
MAX_TOKENS = 32
# As few bytes as make several shards of every model.
SHARD_SIZE = "20KB"


class CannotBeSaved(Exception):
    """The library that would make a checkpoint refuses to; its reason, in a line."""


def request_of(cell: Cell, folder: Path) -> ExportRequest:
    """Save the cell's checkpoint in `folder`, and ask for its bundle; raises CannotBeSaved."""
    if cell.kind in DIRECTORIES:
        return ExportRequest(_directory(cell, folder), name=cell.name)
    try:
        path = _save(cell, models.build(cell.family), folder)
    except Exception as error:
        raise CannotBeSaved(" ".join(str(error).split())) from error
    request = replace(_described(cell, folder), checkpoint=path, name=cell.name)
    if cell.kind in STATE_DICTS:
        factory = f"{models.__name__}:{cell.family.replace('-', '_')}"
        return replace(request, factory=factory)
    return replace(request, trust_pickle=cell.kind == "pickle")


def is_text(family: str) -> bool:
    return family in (*families.TEXTS, "own-text", "own-segments")


def is_detector(family: str) -> bool:
    return family in (*families.DETECTORS, "own-detector")


def side(family: str) -> int:
    """Height and width of a family's pictures."""
    if family in OWN:
        return tinymodels.SIDE
    return 64 if is_detector(family) else 32


def example(family: str) -> tuple[Tensor, ...]:
    """What a person traces the module with."""
    if is_text(family):
        ids = torch.ones(2, 7, dtype=torch.int64)
        # A tensor of its own: of one that is passed twice, torch.export makes one input.
        mask = torch.ones_like(ids)
        return (ids, torch.zeros_like(ids), mask) if family == "own-segments" else (ids, mask)
    if family == "tensor":
        return (torch.zeros(2, 4),)
    pictures = torch.rand(2, 3, side(family), side(family), generator=torch.manual_seed(5))
    return (pictures,)


def _described(cell: Cell, folder: Path) -> ExportRequest:
    if cell.family == "tensor":
        return ExportRequest(folder, task="tensor")
    if is_text(cell.family):
        return ExportRequest(
            folder,
            labels=("negative", "positive"),
            tokenizer=write_tokenizer(folder / "tokenizer.json"),
            max_tokens=MAX_TOKENS,
        )
    size = side(cell.family)
    return ExportRequest(
        folder,
        task="image-detection" if is_detector(cell.family) else "image-classification",
        labels=CLASSES[: tinymodels.CLASSES] if cell.family in OWN else CLASSES,
        image_size=(size, size),
        mean=MEAN,
        std=STD,
    )


def _directory(cell: Cell, folder: Path) -> Path:
    folder /= "checkpoint"
    if cell.family in (*OWN, "tensor", "detr-timm"):
        families.save("detr", folder)
        changes: dict[str, object] = {"architectures": ["OwnNet"]}
        if cell.family == "detr-timm":
            changes = {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18"}}
        return families.edit_config(folder, **changes)
    sharded = {"shard_size": SHARD_SIZE} if cell.kind == "sharded-directory" else {}
    return families.save(cell.family, folder, **sharded)


def _save(cell: Cell, module: nn.Module, folder: Path) -> Path:
    kind, inputs = cell.kind, example(cell.family)
    # A name for each tensor, also where two are one: safetensors demands it.
    state = {name: value.clone() for name, value in module.state_dict().items()}
    if kind == "state-dict":
        return kinds.save_torch(state, folder / "model.pt")
    if kind == "old-format":
        torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
        return folder / "model.pth"
    if kind == "nested":
        noise = {name: torch.zeros_like(value) for name, value in state.items()}
        content = {"epoch": 3, "model_state_dict": noise, "ema_state_dict": state}
        return kinds.save_torch(content, folder / "last.pt")
    if kind == "safetensors":
        save_file(state, folder / "model.safetensors")
        return folder / "model.safetensors"
    if kind == "shards":
        return kinds.save_shards(state, folder / "shards")
    if kind == "lightning":
        return kinds.save_torch(kinds.lightning_content(state), folder / "last.ckpt")
    if kind == "pickle":
        return kinds.save_torch(module, folder / "whole.pt")
    if kind == "program":
        free = {0: torch.export.Dim("batch")}
        if inputs[0].dtype == torch.int64:
            free[1] = torch.export.Dim("tokens", max=MAX_TOKENS)
        # Read as numbers flow through it, an RT-DETR seems to have rows of a fixed number.
        strict = cell.family.startswith("rt-detr")
        return kinds.save_program(
            module, folder / "model.pt2", inputs, (free,) * len(inputs), strict=strict
        )
    return kinds.save_script(module, folder / "script.pt", *(inputs if kind == "traced" else ()))
