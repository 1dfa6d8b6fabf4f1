"""Finding bundles: which folders are served, which version, and what makes one unfit."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE
from inferctl.bundles.repository import (
    find_bundles,
    list_bundles,
    open_bundle,
    read_bundle,
    version_folders,
)
from inferctl.errors import BundleError
from tests.graphs import image_fields, image_graph, write_bundle

NOBODY = 65_534


def put(models: Path, name: str, version: int, **changes: Any) -> Path:
    """A bundle where it belongs."""
    folder = models / name / str(version)
    write_bundle(folder, image_graph(), image_fields(name=name, version=version, **changes))
    return folder


def found(root: Path) -> list[tuple[str, int]]:
    return [(bundle.manifest.name, bundle.manifest.version) for bundle in find_bundles(root)]


def list_file(bundle: Path, name: str) -> None:
    """Make the manifest list a file under the graph's size and hash."""
    manifest = json.loads((bundle / MANIFEST_FILE).read_text())
    manifest["files"][name] = manifest["files"][GRAPH_FILE]
    (bundle / MANIFEST_FILE).write_text(json.dumps(manifest))


def test_an_intact_bundle_opens(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    bundle = open_bundle(folder)
    assert bundle.path == folder
    assert bundle.manifest.name == "a"


@pytest.mark.row(104)
@pytest.mark.parametrize("damage", [b"", b"x", b"other bytes of another length"])
def test_a_changed_file_is_refused(damage: bytes, tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    graph = folder / GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-1] + damage)
    with pytest.raises(BundleError, match=r"'model\.onnx' is not what was exported"):
        open_bundle(folder)


@pytest.mark.row(105)
def test_a_flipped_bit_is_seen_though_the_size_is_right(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    graph = folder / GRAPH_FILE
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(BundleError, match="SHA-256 differs") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.row(104)
def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    (folder / GRAPH_FILE).unlink()
    with pytest.raises(BundleError, match=r"'model\.onnx' is missing or not a plain file"):
        open_bundle(folder)


@pytest.mark.row(104)
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    (folder / GRAPH_FILE).unlink()
    (folder / GRAPH_FILE).mkdir()
    with pytest.raises(BundleError, match="not a plain file"):
        open_bundle(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root, as whom tests may run, may read anything."""
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.row(104, 120)
@pytest.mark.parametrize(
    ("place", "what"),
    [
        (".", "cannot read the folder of models: Permission denied"),
        ("a/1/manifest.json", "cannot read the manifest: Permission denied"),
        ("a/1/model.onnx", r"cannot read the bundle's file 'model\.onnx': Permission denied"),
    ],
)
def test_what_may_not_be_read_is_named(open_folder: Path, place: str, what: str) -> None:
    models = open_folder / "models"
    put(models, "a", 1)
    (models / place).chmod(0)
    with without_privileges(), pytest.raises(BundleError, match=what):
        find_bundles(models)
    (models / place).chmod(0o755)


@pytest.mark.row(104)
def test_a_link_is_refused_though_its_content_is_right(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    (folder / GRAPH_FILE).rename(tmp_path / "elsewhere")
    (folder / GRAPH_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="not a plain file"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../outside", "/outside", "sub/inside", "..", ".", ""])
def test_a_file_outside_the_bundles_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    graph = (folder / GRAPH_FILE).read_bytes()
    (folder / "sub").mkdir()
    for place in (folder.parent / "outside", folder / "sub" / "inside"):
        place.write_bytes(graph)
    list_file(folder, name)
    with pytest.raises(BundleError, match="is missing or not a plain file"):
        open_bundle(folder)


def test_files_beside_the_listed_ones_do_not_matter(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    (folder / "README.md").write_text("notes")
    open_bundle(folder)


def test_models_are_sorted_and_each_has_its_newest_version(tmp_path: Path) -> None:
    for name, version in [("b", 1), ("a", 9), ("a", 10), ("a", 2)]:
        put(tmp_path, name, version)
    assert found(tmp_path) == [("a", 10), ("b", 1)]


def test_an_older_version_may_be_damaged(tmp_path: Path) -> None:
    (put(tmp_path, "a", 1) / GRAPH_FILE).unlink()
    put(tmp_path, "a", 2)
    assert found(tmp_path) == [("a", 2)]


@pytest.mark.row(104)
def test_a_damaged_newest_version_is_not_silently_replaced_by_an_older_one(tmp_path: Path) -> None:
    put(tmp_path, "a", 1)
    (put(tmp_path, "a", 2) / GRAPH_FILE).unlink()
    with pytest.raises(BundleError):
        find_bundles(tmp_path)


def test_every_version_is_found_whatever_is_in_it(tmp_path: Path) -> None:
    for version in (10, 9, 2):
        put(tmp_path, "a", version)
    (tmp_path / "a" / "2" / GRAPH_FILE).unlink()
    folders = version_folders(tmp_path)["a"]
    assert list(folders) == [2, 9, 10]
    assert [read_bundle(tmp_path, folder).manifest.version for folder in folders.values()] == [
        2, 9, 10,
    ]  # fmt: skip


def test_one_bundle_is_served_wherever_it_lies(tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 3).rename(tmp_path / "anywhere")
    assert found(folder) == [("a", 3)]


def test_a_model_folder_is_served(tmp_path: Path) -> None:
    put(tmp_path, "a", 1)
    put(tmp_path, "a", 2)
    assert found(tmp_path / "a") == [("a", 2)]


@pytest.mark.parametrize(("place", "root"), [("a", "."), ("a/1", ".."), (".", "."), (".", "a")])
def test_a_relative_path_finds_the_same(
    place: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a", 1)
    monkeypatch.chdir(tmp_path / place)
    assert found(Path(root)) == [("a", 1)]


@pytest.mark.parametrize("moved", ["b/1", "a/2"])
def test_a_folder_that_contradicts_its_manifest_is_refused(moved: str, tmp_path: Path) -> None:
    folder = put(tmp_path, "a", 1)
    (tmp_path / moved).parent.mkdir(exist_ok=True)
    folder.rename(tmp_path / moved)
    with pytest.raises(BundleError, match="manifest says a version 1, the folder does not") as seen:
        find_bundles(tmp_path)
    assert seen.value.where == str(tmp_path / moved)
    assert seen.value.hint == "move it to a/1"


def test_folders_that_are_no_versions_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "a", 1)
    put(tmp_path, "a", 2).rename(tmp_path / "a" / "2.partial")
    assert found(tmp_path) == [("a", 1)]


def test_an_empty_folder_holds_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle found: expected <name>/<version>") as caught:
        find_bundles(tmp_path)
    assert caught.value.where == str(tmp_path)


@pytest.mark.row(104)
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder of models"):
        find_bundles(tmp_path / "absent")


def test_every_version_is_listed_by_name_and_number(tmp_path: Path) -> None:
    for name, version in (("b", 10), ("a", 1), ("b", 9), ("b", 2)):
        put(tmp_path, name, version)
    listed = [
        (shelved.path.parent.name, int(shelved.path.name)) for shelved in list_bundles(tmp_path)
    ]
    assert listed == [("a", 1), ("b", 2), ("b", 9), ("b", 10)]
    assert all(shelved.bundle and not shelved.problem for shelved in list_bundles(tmp_path))


def test_a_damaged_version_is_listed_with_its_problem(tmp_path: Path) -> None:
    good, bad = put(tmp_path, "a", 1), put(tmp_path, "a", 2)
    (bad / GRAPH_FILE).write_bytes(b"other")
    first, second = list_bundles(tmp_path)
    assert (first.path, first.problem) == (good, None)
    assert second.bundle is None
    assert "is not what was exported" in str(second.problem)


def test_an_empty_folder_has_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle found"):
        list_bundles(tmp_path)
