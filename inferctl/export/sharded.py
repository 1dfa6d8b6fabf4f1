"""Reads weights that were saved in several safetensors files, by the index that lists them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from inferctl.errors import CheckpointError
from inferctl.export.archive import damaged
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line
from inferctl.export.sniff import INDEX_FILE, MAX_INDEX_BYTES, Kind, sniff

_SAVE_AGAIN = "copy the whole folder again"
Content = TypeVar("Content", bound=Collection[str])


def index_of(path: Path) -> Path:
    """Return the index file that `path` is, or that lies in the folder `path`."""
    return path / INDEX_FILE if path.is_dir() else path


def read_shards(path: Path) -> dict[str, Tensor]:
    """Read all weights by the index at `path`, a file or the folder it lies in.

    Raises CheckpointError when a shard is missing, damaged or outside the folder, when a weight is
    not in the shard that the index names, or is in a shard without being in the index.
    """
    index = index_of(path)
    weights = _weight_map(index)
    tensors: dict[str, Tensor] = {}
    for shard in _shards(index, weights):
        content = _read(shard, load_file)
        _check_names(index, weights, shard, set(content))
        tensors |= content
    return tensors


def check_shards(path: Path) -> None:
    """Hold an index against the headers of its shards, reading no weight.

    Raises CheckpointError as `read_shards` does.
    """
    index = index_of(path)
    weights = _weight_map(index)
    for shard in _shards(index, weights):
        _check_names(index, weights, shard, _read(shard, _listed_names))


def shards_sha256(path: Path) -> tuple[str, dict[str, str]]:
    """Hash the index and then its shards in the order of their names as one file, and each shard.

    Raises CheckpointError when one cannot be read.
    """
    index = index_of(path)
    whole = hashlib.sha256()
    each = {}
    for file in (index, *_shards(index, _weight_map(index))):
        alone = hashlib.sha256()
        try:
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    whole.update(chunk)
                    alone.update(chunk)
        except OSError as error:
            raise CheckpointError(f"cannot read it: {error.strerror}", where=str(file)) from None
        each[file.name] = alone.hexdigest()
    del each[index.name]
    return whole.hexdigest(), each


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError("it is far larger than an index of weights", where=str(index))
        document = json.loads(index.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(index)) from None
    except (ValueError, RecursionError) as error:
        raise damaged(index, error) from None
    weights = document.get("weight_map") if isinstance(document, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise CheckpointError("it lists no weights under 'weight_map'", where=str(index))
    for name, file in weights.items():
        if not isinstance(file, str) or not _is_plain(file):
            raise CheckpointError(
                clean(f"it places {name!r} in {file!r}, which is no file beside it"),
                where=str(index),
                hint="the shards lie in the folder of their index",
            )
    return dict(weights)


def _is_plain(name: str) -> bool:
    """Whether a path is the name of a file in the folder itself."""
    return Path(name).name == name != ".." and name != "" and not {"\\", "\0"} & set(name)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of the index; JSON would let the last of two equal names win."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is listed twice")
    return found


def _shards(index: Path, weights: Mapping[str, str]) -> list[Path]:
    """The files of an index in the order of their names, each checked to be safetensors."""
    shards = [index.parent / name for name in sorted(set(weights.values()))]
    for number, shard in enumerate(shards, start=1):
        if not shard.exists():
            raise CheckpointError(
                f"shard {number} of {len(shards)} is missing", where=str(shard), hint=_SAVE_AGAIN
            )
        if sniff(shard) is not Kind.SAFETENSORS:
            raise CheckpointError("the shard is not a safetensors file", where=str(shard))
    return shards


def _check_names(index: Path, weights: Mapping[str, str], shard: Path, found: set[str]) -> None:
    listed = {name for name, file in weights.items() if file == shard.name}
    for names, what in (
        (listed - found, f"{index.name} lists {{}}, which the shard does not hold"),
        (found - listed, f"it holds {{}}, which {index.name} does not place there"),
    ):
        if names:
            text = clean(what.format(repr(min(names))))
            raise CheckpointError(text, where=str(shard), hint=_SAVE_AGAIN)


def _listed_names(shard: Path) -> set[str]:
    with safe_open(shard, "pt") as content:
        return set(content.keys())


def _read(shard: Path, by: Callable[[Path], Content]) -> Content:
    try:
        return by(shard)
    except FOREIGN_ERRORS as error:
        raise CheckpointError(
            f"it is cut short or damaged: {first_line(error)}", where=str(shard), hint=_SAVE_AGAIN
        ) from None
