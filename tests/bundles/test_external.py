"""A graph names the files of its weights: which, and that the manifest knows them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2

from inferctl.bundles.external import FIELDS, Span, external_spans
from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, read_manifest
from inferctl.bundles.repository import check_graph, open_bundle
from inferctl.errors import BundleError
from tests.graphs import image_fields, image_graph, write_bundle


def weight(location: str, **entries: str) -> TensorProto:
    """A tensor whose bytes are said to lie in a file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"offset": "0"} | entries | {"location": location}).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def written(tmp_path: Path, graph: onnx.GraphProto) -> Path:
    file = tmp_path / "some.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    return file


def bundle_with(
    tmp_path: Path, location: str | None, *, listed: bool = True, **entries: str
) -> Path:
    """A bundle whose graph takes an unused weight from `location`; beside it lie no bytes."""
    graph = image_graph()
    if location is not None:
        graph.graph.initializer.append(weight(location, **entries))
    folder = tmp_path / "m" / "1"
    fields = image_fields(name="m", version=1)
    if listed:
        fields = fields | {"files": [*fields["files"], DATA_FILE]}
    write_bundle(folder, graph, fields)
    return folder


def test_the_table_of_fields_is_that_of_onnx() -> None:
    for message, inner in FIELDS.items():
        found = {
            field.number: field.message_type.name
            for field in getattr(onnx_ml_pb2, message).DESCRIPTOR.fields
            if field.message_type is not None
            and (field.message_type.name in FIELDS or field.name == "external_data")
        }
        assert inner == found


def test_a_location_is_found_wherever_a_tensor_may_lie(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [], [weight("subgraph")])
    sparse = onnx.SparseTensorProto(values=weight("sparse"), indices=weight("indices"))
    nodes = [
        helper.make_node("Constant", [], ["a"], value=weight("attribute")),
        helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "outer", [], [], [weight("initializer")])
    graph.sparse_initializer.append(sparse)
    assert external_spans(written(tmp_path, graph)) == {
        Span(location, 0, 0)
        for location in ("initializer", "attribute", "subgraph", "sparse", "indices")
    }


def test_a_graph_that_only_speaks_of_a_location_names_no_file(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["location"], ["y"])], "g", [], [])
    assert external_spans(written(tmp_path, graph)) == frozenset()


@pytest.mark.parametrize("content", [b"\x3a\xff\x01location", b"\x3a" + b"\xff" * 12 + b"location"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="the graph is damaged"):
        external_spans(tmp_path / "some.onnx")


def test_graphs_without_end_are_refused(tmp_path: Path) -> None:
    content = b"location"
    for number in [6, 5, 1] * 40 + [7]:  # a node's attribute's graph, in a node's attribute's graph
        size = bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
        content = bytes([number << 3 | 2]) + size + content
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="the graph is damaged"):
        external_spans(tmp_path / "some.onnx")


@pytest.mark.parametrize("check", ["open_bundle", "check_graph"])
def test_weights_beside_the_graph_are_checked_by_hash(tmp_path: Path, check: str) -> None:
    folder = bundle_with(tmp_path, DATA_FILE)
    manifest = open_bundle(folder).manifest
    check_graph(folder, manifest)

    (folder / DATA_FILE).write_bytes(b"other weights")
    with pytest.raises(BundleError, match=r"'model\.onnx\.data' is not what was exported"):
        open_bundle(folder) if check == "open_bundle" else check_graph(folder, manifest)


@pytest.mark.row(106)
@pytest.mark.parametrize(
    "location",
    [
        "../model.onnx.data",
        "a/../../model.onnx.data",
        "/etc/passwd",
        "/proc/self/environ",
        "folder/model.onnx.data",
        "other.data",
        "manifest.json",
        "./model.onnx.data",
        "",
    ],
)
def test_weights_from_anywhere_else_are_refused(tmp_path: Path, location: str) -> None:
    folder = bundle_with(tmp_path, location)
    with pytest.raises(BundleError, match=r"takes weights from .* does not list") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.row(106)
@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"offset": "-4096"}, "bytes at '-4096' of another file"),
        ({"length": "-1"}, "takes '-1' bytes"),
        ({"length": "1e3"}, "takes '1e3' bytes"),
        ({"offset": "9" * 5000}, "of another file"),
        ({"length": str(10**15)}, r"beyond the end of model\.onnx\.data"),
        ({"offset": "1"}, r"beyond the end of model\.onnx\.data"),
        ({"offset": "0", "length": "1"}, r"beyond the end of model\.onnx\.data"),
        ({"__class__": "x"}, "says '__class__' of its weights"),
    ],
)
def test_weights_that_are_not_in_their_file_are_refused(
    tmp_path: Path, entries: dict[str, str], what: str
) -> None:
    folder = bundle_with(tmp_path, DATA_FILE, **entries)
    with pytest.raises(BundleError, match=what) as caught:
        open_bundle(folder)
    assert len(str(caught.value)) < 400


def test_weights_at_the_very_end_of_their_file_are_in_it(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE, offset="0", length="0")
    open_bundle(folder)


@pytest.mark.row(106)
@pytest.mark.parametrize("name", [DATA_FILE, GRAPH_FILE])
def test_a_file_with_a_second_name_is_refused(tmp_path: Path, name: str) -> None:
    """Who has the other one may change what was looked at."""
    folder = bundle_with(tmp_path, DATA_FILE)
    os.link(folder / name, tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=rf"'{re.escape(name)}' has a second name"):
        open_bundle(folder)


@pytest.mark.row(106)
@pytest.mark.parametrize("location", ["../secret", "link", "folder/secret"])
def test_what_a_graph_must_not_have_is_not_even_opened(tmp_path: Path, location: str) -> None:
    folder = bundle_with(tmp_path, location)
    secret = folder.parent / "secret"
    os.mkfifo(secret)  # whoever opens it waits for ever
    (folder / "link").symlink_to(secret)
    (folder / "folder").symlink_to(folder.parent)
    with pytest.raises(BundleError, match="takes weights from"):
        open_bundle(folder)


@pytest.mark.row(106)
def test_weights_that_the_manifest_does_not_list_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE, listed=False)
    (folder / DATA_FILE).write_bytes(b"\0" * 16)
    with pytest.raises(BundleError, match=r"takes weights from .model\.onnx\.data."):
        open_bundle(folder)


@pytest.mark.row(106)
def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE)
    (folder / DATA_FILE).unlink()
    with pytest.raises(BundleError, match="missing or not a plain file"):
        open_bundle(folder)


@pytest.mark.row(106)
def test_weights_that_are_a_link_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE)
    (folder / DATA_FILE).rename(tmp_path / "elsewhere")
    (folder / DATA_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="missing or not a plain file"):
        check_graph(folder, read_manifest(folder))


def test_a_graph_without_weights_elsewhere_needs_no_second_look(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, None, listed=False)
    assert external_spans(folder / GRAPH_FILE) == frozenset()
