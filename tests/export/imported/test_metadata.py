"""Metadata are strings of anybody's making: read as literals, and no further."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import onnx
import pytest

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.errors import CheckpointError
from inferctl.export.finish import ExportResult
from inferctl.export.imported.metadata import Stated, read_metadata
from inferctl.export.metadata import MANIFEST_KEY

from . import graphs
from .conftest import Import
from .graphs import LABELS, ultralytics


def read(**changes: object) -> Stated:
    return read_metadata({key: str(value) for key, value in ultralytics(**changes).items()}, "x")


def test_what_ultralytics_writes_is_read() -> None:
    stated = read(imgsz=[480, 640])
    assert (stated.task, stated.labels) == ("image-detection", LABELS)
    assert (stated.image_size, stated.end_to_end) == ((480, 640), False)
    assert read(task="classify").task == "image-classification"
    assert read(imgsz=320).image_size == (320, 320)
    assert read(end2end=True).end_to_end
    assert read(args={"nms": True}).end_to_end


def test_a_file_of_others_says_nothing() -> None:
    assert read_metadata({"names": "{0: 'cat'}"}, "x") == Stated()
    assert read_metadata({"task": "detect"}, "x") == Stated()


@pytest.mark.parametrize(
    "names",
    [
        "__import__('os').system('touch {marker}')",
        "[open('{marker}', 'w')]",
        "{{0: open('{marker}', 'w').name}}",
        "{{0: f'{{open(chr(112))}}'}}",
        "(lambda: 0)()",
        "{{0: 'a'}} | {{1: 'b'}}",
        "[" * 100_000,
        "-" * 900_000 + "1",
        "1+" * 400_000 + "1",
        "9" * 900_000,
        "'" + "a" * 1_000_001 + "'",
        "\0",
        "",
        "{{1: 'a'}}",
        "{{0: 'a', 2: 'b'}}",
        "{{'a': 0}}",
        "{{0: 1}}",
        "{{0: ''}}",
        "{{0: '" + "a" * 300 + "'}}",
        "{{0}}",
        "7",
    ],
)
def test_names_that_are_no_labels_are_refused_and_run_nothing(names: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(CheckpointError, match="'names' in its metadata"):
        read(names=names.format(marker=marker) if len(names) < 100 else names)
    assert not marker.exists()


@pytest.mark.parametrize("size", ["[0, 640]", "[640]", "'big'", "[1e3, 1e3]", "[True, True]", "{}"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(CheckpointError, match="'imgsz' in its metadata is no size"):
        read(imgsz=size)


def test_labels_are_shown_without_control_characters() -> None:
    assert read(names={0: "a\x1b[31mb\n"}).labels == ("ab",)


def published(result: ExportResult) -> dict[str, str]:
    proto = onnx.load(result.path / GRAPH_FILE)
    return {entry.key: entry.value for entry in proto.metadata_props}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_published_graph_says_what_it_is_now_and_whose_it_was(
    imported: Import, precision: str
) -> None:
    model = graphs.yolov8(author="them", license="AGPL-3.0", date="2026-01-01")
    result = imported(model, precision=precision)
    found = published(result)
    assert (found["task"], found["author"], found["license"]) == ("detect", "them", "AGPL-3.0")
    assert ast.literal_eval(found["names"]) == dict(enumerate(result.manifest.labels))
    described = json.loads(found[MANIFEST_KEY])
    manifest = result.manifest.model_dump(mode="json", exclude_none=True)
    assert described == {name: manifest[name] for name in described}
    assert not {"date", "stride", "args"} & set(found)
    assert read_metadata(found, "net.onnx") == Stated()


def test_bare_tensors_have_no_labels_to_tell(imported: Import) -> None:
    found = published(imported(graphs.sums(), task="tensor"))
    assert (found["task"], found["description"]) == ("tensor", "net: tensors into tensors")
    assert "names" not in found
