"""Builds a directory's module with transformers, strictly: a weight left at random is an error."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from inferctl.errors import CheckpointError
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line
from inferctl.export.loaded import file_sha256
from inferctl.export.sharded import check_shards, shards_sha256
from inferctl.export.sniff import INDEX_FILE, Kind, sniff

WEIGHTS_FILE = "model.safetensors"


def weights_of(directory: Path) -> tuple[Path, str, dict[str, str]]:
    """Which file holds the weights, or lists the shards that do; its sha256, and each shard's.

    Of both, transformers reads the first. Raises CheckpointError when there is neither, or it is no
    safetensors file, or the index does not fit its shards.
    """
    weights, index = directory / WEIGHTS_FILE, directory / INDEX_FILE
    if weights.is_file():
        _check_format(weights)
        return weights, file_sha256(weights), {}
    if index.is_file():
        check_shards(index)
        return index, *shards_sha256(index)
    raise CheckpointError(
        f"{WEIGHTS_FILE} is missing",
        where=str(directory),
        hint="save it with `model.save_pretrained(directory)`",
    )


def _check_format(weights: Path) -> None:
    if sniff(weights) is not Kind.SAFETENSORS:
        raise CheckpointError(
            "it is not a safetensors file",
            where=str(weights),
            hint="save it again with `model.save_pretrained(directory)`",
        )


def load_module(directory: Path, family: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """Load the weights into `family`, one of transformers' AutoModelFor… classes.

    The module is on the CPU in float32, for evaluation; beside it lies what a person should know.
    Raises CheckpointError when transformers cannot, or when a weight is missing or misshapen.
    """
    try:
        with _quiet():
            model, found = family.from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except FOREIGN_ERRORS as error:
        raise CheckpointError(
            f"transformers cannot load it: {first_line(error)}", where=str(directory)
        ) from None
    _check_complete(found, directory)
    unexpected = sorted(str(name) for name in found["unexpected_keys"])
    notes = (
        (f"left aside {len(unexpected)} weights of another head, such as {unexpected[0]!r}",)
        if unexpected
        else ()
    )
    return model.cpu().float().eval(), notes


def _check_complete(found: Mapping[str, Any], directory: Path) -> None:
    for key, what in (
        ("mismatched_keys", "have another shape than config.json says"),
        ("missing_keys", "are missing"),
        ("error_msgs", "do not load"),
    ):
        names = sorted(str(item[0] if isinstance(item, tuple) else item) for item in found[key])
        if names:
            raise CheckpointError(
                clean(f"{len(names)} weights {what}, such as {names[0]!r}"),
                where=str(directory),
                hint="the directory must hold the whole trained model, not only its base",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' load report, progress bars and warnings out of the terminal."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(transformers|torch|huggingface_hub)\b")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
