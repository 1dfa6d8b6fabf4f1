"""Weights in several files are read completely, from their own folder, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inferctl.bundles.manifest import File
from inferctl.errors import CheckpointError
from inferctl.export.sharded import check_shards, read_shards, shards_sha256
from inferctl.export.sniff import INDEX_FILE, Kind, sniff

from . import kinds

Read = Callable[[Path], object]
STATE = {name: torch.full((2, 3), float(number)) for number, name in enumerate("abcd")}
FIRST = "model-00001-of-00002.safetensors"
SECOND = "model-00002-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kinds.save_shards(STATE, tmp_path / "model")


@pytest.fixture(params=[read_shards, check_shards])
def read(request: pytest.FixtureRequest) -> Read:
    """Both ways: the weights themselves, or no more than the headers."""
    way: Read = request.param
    return way


def place(folder: Path, **files: object) -> None:
    index = folder / INDEX_FILE
    document = json.loads(index.read_text())
    document["weight_map"].update(files)
    index.write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["", INDEX_FILE, "renamed.json"])
def test_an_index_or_its_folder_is_read(folder: Path, name: str) -> None:
    if name == "renamed.json":
        (folder / INDEX_FILE).rename(folder / name)
    assert sniff(folder / name) is Kind.SHARDED
    tensors = read_shards(folder / name)
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], STATE[name]) for name in STATE)


def test_the_hash_is_that_of_all_files_in_order_and_of_each_shard(folder: Path) -> None:
    data = b"".join((folder / name).read_bytes() for name in (INDEX_FILE, FIRST, SECOND))
    whole, each = shards_sha256(folder)
    assert whole == hashlib.sha256(data).hexdigest()
    assert each == {name: File.of(folder / name).sha256 for name in (FIRST, SECOND)}


def test_a_missing_shard_is_named(folder: Path, read: Read) -> None:
    (folder / SECOND).unlink()
    with pytest.raises(CheckpointError, match=rf"shard 2 of 2 is missing \(.*{SECOND}\)"):
        read(folder)


@pytest.mark.parametrize(
    "file", ["../secret.safetensors", "/etc/x.safetensors", "a/b", "..", ".", "", "a\\b", "a\0b", 3]
)
def test_no_shard_lies_outside_the_folder(folder: Path, read: Read, file: object) -> None:
    save_file({"a": STATE["a"]}, folder.parent / "secret.safetensors")
    place(folder, a=file)
    with pytest.raises(CheckpointError, match=r"places 'a' in .* no file beside it"):
        read(folder)


def test_a_weight_that_its_shard_does_not_hold_is_named(folder: Path, read: Read) -> None:
    place(folder, e=FIRST)
    with pytest.raises(CheckpointError, match=r"lists 'e', which the shard does not hold"):
        read(folder)


def test_a_weight_that_is_in_two_shards_is_refused(folder: Path, read: Read) -> None:
    save_file({"a": STATE["a"], "b": STATE["b"], "d": STATE["d"]}, folder / SECOND)
    with pytest.raises(CheckpointError, match=rf"holds 'a', which {INDEX_FILE} does not place"):
        read(folder)


def test_a_weight_that_is_listed_twice_is_refused(folder: Path, read: Read) -> None:
    text = f'{{"weight_map": {{"a": "{FIRST}", "a": "{SECOND}"}}}}'
    (folder / INDEX_FILE).write_text(text)
    with pytest.raises(CheckpointError, match="'a' is listed twice"):
        read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"weight_map": {}}', "lists no weights"),
        ('{"weight_map": []}', "lists no weights"),
        ("[]", "lists no weights"),
        ('{"weight_map": {"a"', "cut short or damaged"),
        ("[" * 100_000, "cut short or damaged"),
    ],
)
def test_an_index_that_lists_nothing_is_refused(
    folder: Path, read: Read, text: str, message: str
) -> None:
    (folder / INDEX_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read(folder)


def test_a_shard_of_another_format_is_refused(folder: Path, read: Read) -> None:
    torch.save(STATE, folder / FIRST)
    with pytest.raises(CheckpointError, match="the shard is not a safetensors file"):
        read(folder)


def test_an_index_far_too_large_is_not_read(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferctl.export.sharded.MAX_INDEX_BYTES", 100)
    with pytest.raises(CheckpointError, match="far larger than an index"):
        read(folder)


def test_a_folder_of_a_cache_may_link_to_its_shards(folder: Path) -> None:
    blob = folder.parent / "blob"
    (folder / FIRST).rename(blob)
    (folder / FIRST).symlink_to(blob)
    assert read_shards(folder).keys() == STATE.keys()
