"""Graphs on disk: one file or two, the same to whoever reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferctl.bundles.manifest import DATA_FILE as DATA
from inferctl.bundles.manifest import GRAPH_FILE as GRAPH
from inferctl.bundles.manifest import File
from inferctl.errors import VerificationError
from inferctl.export import onnxfile
from inferctl.export.onnxfile import published_files, published_sha256, read_graph, write_graph

ROWS = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)


def proto() -> onnx.ModelProto:
    """y = (x @ first @ second) + last: two weights of 4 kB, one of 128 bytes, two typed numbers."""
    random = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(random.normal(size=(32, 32)).astype(np.float32), "first"),
        numpy_helper.from_array(random.normal(size=(32, 32)).astype(np.float32), "second"),
        numpy_helper.from_array(random.normal(size=32).astype(np.float32), "last"),
        helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 32]),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("MatMul", ["a", "second"], ["b"]),
        helper.make_node("Add", ["b", "last"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 32]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def answer(graph: Path | bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": ROWS})[0]


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    return write_graph(proto(), tmp_path / "parted", weights_in=tmp_path)


@pytest.mark.row(184)
@pytest.mark.parametrize(("limit", "names"), [(8192, [GRAPH]), (8191, [GRAPH, DATA])])
def test_a_graph_answers_the_same_in_one_file_and_in_two(
    parted: Path, tmp_path: Path, limit: int, names: list[str]
) -> None:
    files = published_files(parted, limit)
    assert sorted(files) == names

    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name, path in files.items():
        path.rename(bundle / name)
    onnx.checker.check_model(bundle / GRAPH, full_check=True)
    assert np.array_equal(answer(bundle / GRAPH), answer(proto().SerializeToString()))
    weights = {
        t.name: numpy_helper.to_array(t) for t in onnx.load(bundle / GRAPH).graph.initializer
    }
    assert weights.keys() == {"first", "second", "last", "shape"}
    for tensor in proto().graph.initializer:
        assert np.array_equal(weights[tensor.name], numpy_helper.to_array(tensor))


@pytest.mark.parametrize("limit", [10_000, 0])
def test_the_hash_of_what_will_be_published_is_known_before(parted: Path, limit: int) -> None:
    told = published_sha256(parted, limit)
    assert told == File.of(published_files(parted, limit)[GRAPH]).sha256


@pytest.mark.row(184)
def test_no_file_grows_beyond_what_protobuf_reads(
    parted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights beside the graph would fit, and not with it."""
    weights_bytes = (parted.parent / DATA).stat().st_size
    monkeypatch.setattr(onnxfile, "MAX_GRAPH_BYTES", weights_bytes + 1)
    assert sorted(published_files(parted, 1_000_000)) == [GRAPH, DATA]


def test_a_graph_of_small_weights_is_one_file(tmp_path: Path) -> None:
    small = proto()
    for tensor in small.graph.initializer:
        if tensor.dims == [32, 32]:
            tensor.CopyFrom(numpy_helper.from_array(np.ones((1, 1), np.float32), tensor.name))
    file = write_graph(small, tmp_path / "small", weights_in=tmp_path)
    assert [path.name for path in file.parent.iterdir()] == [GRAPH]
    assert published_files(file, 0) == {GRAPH: file}


def test_weights_move_from_file_to_file(parted: Path, tmp_path: Path) -> None:
    bare = read_graph(parted)
    assert not any(tensor.raw_data for tensor in bare.graph.initializer if tensor.name != "last")
    again = write_graph(bare, tmp_path / "again", weights_in=parted.parent)
    for name in (GRAPH, DATA):
        assert again.with_name(name).read_bytes() == parted.with_name(name).read_bytes()


def test_large_weights_are_aligned_and_small_ones_stay(parted: Path) -> None:
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in read_graph(parted).graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert places == {
        "first": {"location": DATA, "offset": "0", "length": "4096"},
        "second": {"location": DATA, "offset": "4096", "length": "4096"},
    }


@pytest.mark.row(184)
def test_a_graph_that_even_without_weights_is_too_large_is_refused() -> None:
    with pytest.raises(VerificationError, match="larger than the 2 GB"):
        onnxfile._serialised(TooLarge())


class TooLarge:
    def SerializeToString(self, deterministic: bool) -> bytes:  # noqa: N802  # protobuf's name
        raise ValueError("exceeds maximum protobuf size of 2GB")


def test_weights_that_end_too_early_are_refused(parted: Path, tmp_path: Path) -> None:
    data = parted.with_name(DATA)
    data.write_bytes(data.read_bytes()[:5_000])
    with pytest.raises(VerificationError, match="the weights of 'second' are cut short"):
        published_files(parted, 10_000)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / GRAPH).write_bytes(b"\x08\x01\xff")
    with pytest.raises(VerificationError, match="cannot be parsed"):
        read_graph(tmp_path / GRAPH)


def test_a_graph_against_the_rules_of_onnx_is_refused(tmp_path: Path) -> None:
    wrong = proto()
    wrong.graph.node[0].op_type = "Absent"
    with pytest.raises(VerificationError, match="the graph is not valid: No Op registered"):
        write_graph(wrong, tmp_path / "1", weights_in=tmp_path)
