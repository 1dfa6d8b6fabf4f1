"""A directory's weights lie in one file or in shards, and are read completely or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inferctl.errors import CheckpointError
from inferctl.export import ExportRequest
from inferctl.export.huggingface.directory import load_huggingface
from inferctl.export.sharded import shards_sha256
from inferctl.export.sniff import INDEX_FILE

from .families import build, save

FAMILY = "distilbert"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return save(FAMILY, tmp_path / FAMILY, "20KB")


def refused(folder: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        load_huggingface(ExportRequest(folder))
    assert "\n" not in str(caught.value)


def place(folder: Path, name: str, file: str) -> None:
    index = json.loads((folder / INDEX_FILE).read_text())
    index["weight_map"][name] = file
    (folder / INDEX_FILE).write_text(json.dumps(index))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def test_every_weight_of_every_shard_is_loaded(sharded: Path) -> None:
    assert len(shards(sharded)) > 2
    loaded = load_huggingface(ExportRequest(sharded))
    assert loaded.weights == sharded / INDEX_FILE
    assert (loaded.sha256, loaded.shards) == shards_sha256(sharded)
    assert set(loaded.shards) == {path.name for path in shards(sharded)}
    saved = build(FAMILY)[0].state_dict()
    own = loaded.module.model.state_dict()
    assert own.keys() == saved.keys()
    assert all(torch.equal(own[name], saved[name]) for name in saved)


def test_one_file_is_preferred_to_shards(sharded: Path) -> None:
    save(FAMILY, sharded.parent / "whole")
    (sharded.parent / "whole" / "model.safetensors").rename(sharded / "model.safetensors")
    assert load_huggingface(ExportRequest(sharded)).weights == sharded / "model.safetensors"


def test_a_missing_shard_is_named(sharded: Path) -> None:
    gone = shards(sharded)[1]
    gone.unlink()
    refused(sharded, rf"shard 2 of \d+ is missing \(.*{gone.name}\)")


def test_a_shard_outside_the_folder_is_not_read(sharded: Path) -> None:
    shard = shards(sharded)[0]
    shard.rename(sharded.parent / "secret.safetensors")
    for name in load_file(sharded.parent / "secret.safetensors"):
        place(sharded, name, "../secret.safetensors")
    refused(sharded, "places .* which is no file beside it")


def test_a_weight_in_two_shards_is_refused(sharded: Path) -> None:
    first, second, *_ = shards(sharded)
    both = load_file(first) | load_file(second)
    save_file(both, second, metadata={"format": "pt"})
    refused(sharded, rf"holds .*, which {INDEX_FILE} does not place there")


def test_a_weight_that_no_shard_holds_is_refused(sharded: Path) -> None:
    place(sharded, "classifier.gain", shards(sharded)[0].name)
    refused(sharded, "lists 'classifier.gain', which the shard does not hold")


def test_a_damaged_shard_is_refused(sharded: Path) -> None:
    shard = shards(sharded)[0]
    shard.write_bytes(shard.read_bytes()[:-50])
    refused(sharded, "cut short or damaged")
