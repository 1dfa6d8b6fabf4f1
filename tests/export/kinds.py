"""Writes checkpoints of every kind with real torch, all of the same weights."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim

from . import tinymodels
from .conftest import save_torch, settle

PICTURES = torch.zeros(2, 3, tinymodels.SIDE, tinymodels.SIDE)
BATCH = ({0: Dim("batch")},)


def classifier() -> nn.Module:
    return settle(tinymodels.Classifier())


def save_script(module: nn.Module, path: Path, *inputs: Tensor, freeze: bool = False) -> Path:
    """Trace `module` by `inputs`, or compile it when there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.trace(module, inputs) if inputs else torch.jit.script(module)
        torch.jit.save(torch.jit.freeze(scripted) if freeze else scripted, path)
    return path


def save_program(
    module: nn.Module,
    path: Path,
    inputs: tuple[Tensor, ...] = (PICTURES,),
    dynamic_shapes: object = BATCH,
    *,
    strict: bool = False,
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes, strict=strict)
        torch.export.save(program, path)
    return path


def save_shards(state: dict[str, Tensor], folder: Path, shards: int = 2) -> Path:
    """As save_pretrained writes them; returns the folder."""
    folder.mkdir()
    names = sorted(state)
    files = {
        name: f"model-{number % shards + 1:05}-of-{shards:05}.safetensors"
        for number, name in enumerate(names)
    }
    for file in set(files.values()):
        save_file({name: state[name] for name in names if files[name] == file}, folder / file)
    size = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    return folder


def lightning_content(
    state: dict[str, Tensor], prefix: str = "model.", **hyper_parameters: object
) -> dict[str, object]:
    """What Trainer.save_checkpoint writes."""
    return {
        "epoch": 3,
        "global_step": 400,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {prefix + name: value for name, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
    }


def save(kind: str, folder: Path) -> Path:
    """The tiny classifier as a checkpoint of a kind; returns what a person names."""
    module = classifier()
    state = dict(module.state_dict())
    if kind == "torch":
        return save_torch(state, folder / "model.pt")
    if kind == "legacy":
        torch.save(state, folder / "model.pth", _use_new_zipfile_serialization=False)
        return folder / "model.pth"
    if kind == "safetensors":
        save_file(state, folder / "model.safetensors")
        return folder / "model.safetensors"
    if kind == "shards":
        return save_shards(state, folder / "shards")
    if kind == "lightning":
        return save_torch(lightning_content(state), folder / "last.ckpt")
    if kind == "traced":
        return save_script(module, folder / "traced.pt", PICTURES)
    if kind == "scripted":
        return save_script(module, folder / "scripted.pt")
    if kind == "frozen":
        return save_script(module, folder / "frozen.pt", freeze=True)
    assert kind == "program"
    return save_program(module, folder / "program.pt2")


@contextmanager
def silence() -> Iterator[None]:
    """Let torch warn and log of what a test does on purpose."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
