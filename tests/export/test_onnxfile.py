"""Graphs on disk: one file or two, the same to whoever reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferctl.errors import VerificationError
from inferctl.export import onnxfile
from inferctl.export.onnxfile import data_of, read_graph, write_graph

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


@pytest.mark.parametrize(("limit", "beside"), [(10_000, False), (8_000, True), (0, True)])
def test_a_graph_answers_the_same_in_one_file_and_in_two(
    tmp_path: Path, limit: int, beside: bool
) -> None:
    expected = answer(proto().SerializeToString())
    file = write_graph(proto(), tmp_path / "g", weights_in=tmp_path, data_over_bytes=limit)

    onnx.checker.check_model(file, full_check=True)
    assert np.array_equal(answer(file), expected)
    assert (data_of(file) is not None) == beside
    assert sorted(path.name for path in file.parent.iterdir()) == (
        ["model.onnx", "model.onnx.data"] if beside else ["model.onnx"]
    )
    assert sorted(tensor.name for tensor in onnx.load(file).graph.initializer) == [
        "first",
        "last",
        "second",
        "shape",
    ]


def test_weights_move_from_file_to_file_and_back(tmp_path: Path) -> None:
    whole = write_graph(proto(), tmp_path / "1", weights_in=tmp_path, data_over_bytes=10_000)
    parted = write_graph(proto(), tmp_path / "2", weights_in=tmp_path, data_over_bytes=0)

    again = read_graph(parted)
    assert not any(tensor.raw_data for tensor in again.graph.initializer if tensor.name != "last")
    back = write_graph(again, tmp_path / "3", weights_in=parted.parent, data_over_bytes=10_000)

    assert back.read_bytes() == whole.read_bytes()


def test_large_weights_are_aligned_and_small_ones_stay(tmp_path: Path) -> None:
    file = write_graph(proto(), tmp_path / "1", weights_in=tmp_path, data_over_bytes=0)
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in read_graph(file).graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert places == {
        "first": {"location": "model.onnx.data", "offset": "0", "length": "4096"},
        "second": {"location": "model.onnx.data", "offset": "4096", "length": "4096"},
    }


def test_what_no_file_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxfile, "_PROTOBUF_BYTES", 5_000)
    with pytest.raises(VerificationError, match="larger than the 2 GB"):
        write_graph(proto(), tmp_path / "1", weights_in=tmp_path, data_over_bytes=10_000)


def test_weights_that_end_too_early_are_refused(tmp_path: Path) -> None:
    parted = write_graph(proto(), tmp_path / "1", weights_in=tmp_path, data_over_bytes=0)
    data = data_of(parted)
    assert data is not None
    data.write_bytes(data.read_bytes()[:5_000])
    with pytest.raises(VerificationError, match="the weights of 'second' are cut short"):
        write_graph(
            read_graph(parted), tmp_path / "2", weights_in=parted.parent, data_over_bytes=10_000
        )


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x01\xff")
    with pytest.raises(VerificationError, match="cannot be parsed"):
        read_graph(tmp_path / "model.onnx")
