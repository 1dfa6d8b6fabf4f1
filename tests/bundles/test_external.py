"""A graph names the files of its weights: which, and that the manifest knows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, onnx_ml_pb2

from inferctl.bundles.external import FIELDS, external_files
from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, read_manifest
from inferctl.bundles.repository import check_graph, open_bundle
from inferctl.errors import BundleError
from tests.graphs import image_fields, image_graph, write_bundle


def place(tensor: TensorProto, location: str) -> TensorProto:
    """The tensor, its bytes said to lie in a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def weight(location: str) -> TensorProto:
    return place(numpy_helper.from_array(np.zeros(4, np.float32), "w"), location)


def written(tmp_path: Path, graph: onnx.GraphProto) -> Path:
    file = tmp_path / "some.onnx"
    file.write_bytes(helper.make_model(graph).SerializeToString())
    return file


def bundle_with(tmp_path: Path, location: str | None, *, listed: bool = True) -> Path:
    """A bundle whose graph takes an unused weight from `location`."""
    graph = image_graph()
    if location is not None:
        graph.graph.initializer.append(weight(location))
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
    assert external_files(written(tmp_path, graph)) == {
        "initializer",
        "attribute",
        "subgraph",
        "sparse",
        "indices",
    }


def test_a_graph_that_only_speaks_of_a_location_names_no_file(tmp_path: Path) -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["location"], ["y"])], "g", [], [])
    assert external_files(written(tmp_path, graph)) == frozenset()


@pytest.mark.parametrize("content", [b"\x3a\xff\x01location", b"\x3a" + b"\xff" * 12 + b"location"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="the graph is damaged"):
        external_files(tmp_path / "some.onnx")


def test_graphs_without_end_are_refused(tmp_path: Path) -> None:
    content = b"location"
    for number in [6, 5, 1] * 40 + [7]:  # a node's attribute's graph, in a node's attribute's graph
        size = bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
        content = bytes([number << 3 | 2]) + size + content
    (tmp_path / "some.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="the graph is damaged"):
        external_files(tmp_path / "some.onnx")


@pytest.mark.parametrize("check", ["open_bundle", "check_graph"])
def test_weights_beside_the_graph_are_checked_by_hash(tmp_path: Path, check: str) -> None:
    folder = bundle_with(tmp_path, DATA_FILE)
    manifest = open_bundle(folder).manifest
    check_graph(folder, manifest)

    (folder / DATA_FILE).write_bytes(b"other weights")
    with pytest.raises(BundleError, match=r"'model\.onnx\.data' is not what was exported"):
        open_bundle(folder) if check == "open_bundle" else check_graph(folder, manifest)


@pytest.mark.parametrize(
    "location",
    ["../model.onnx.data", "/etc/passwd", "other.data", "manifest.json", "./model.onnx.data", ""],
)
def test_weights_from_anywhere_else_are_refused(tmp_path: Path, location: str) -> None:
    folder = bundle_with(tmp_path, location)
    with pytest.raises(BundleError, match=r"takes weights from .* does not list") as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


def test_weights_that_the_manifest_does_not_list_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE, listed=False)
    (folder / DATA_FILE).write_bytes(b"\0" * 16)
    with pytest.raises(BundleError, match=r"takes weights from .model\.onnx\.data."):
        open_bundle(folder)


def test_weights_that_are_a_link_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, DATA_FILE)
    (folder / DATA_FILE).rename(tmp_path / "elsewhere")
    (folder / DATA_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="missing or not a plain file"):
        check_graph(folder, read_manifest(folder))


def test_a_graph_without_weights_elsewhere_needs_no_second_look(tmp_path: Path) -> None:
    folder = bundle_with(tmp_path, None, listed=False)
    assert external_files(folder / GRAPH_FILE) == frozenset()
