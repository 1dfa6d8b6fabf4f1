"""Files that are no ONNX, too new, or reach for what is not theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper

from inferctl.errors import CheckpointError
from inferctl.export.imported import source
from inferctl.export.imported.model import describe_model
from inferctl.export.imported.original import Original
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.source import read_onnx

from . import graphs
from .graphs import save

WEIGHTS = "weights.bin"


@pytest.fixture
def model() -> onnx.ModelProto:
    return graphs.yolov8()


def test_a_file_is_read(tmp_path: Path, model: onnx.ModelProto) -> None:
    file = read_onnx(save(model, tmp_path / "net.onnx"))
    assert (file.opset, [value.name for value in file.inputs]) == (17, ["images"])
    assert file.metadata["task"] == "detect"


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, b"hello world\n" * 99, os.urandom(1000), b"\x80\x04K\x07.", b"PK\x03\x04"],
)
def test_what_is_no_onnx_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(CheckpointError, match="no ONNX file, or cut short"):
        read_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(
    tmp_path: Path, model: onnx.ModelProto, part: float
) -> None:
    path = save(model, tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(CheckpointError, match="no ONNX file, or cut short"):
        read_onnx(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_onnx(tmp_path / "absent.onnx")
    with pytest.raises(CheckpointError, match=r"a folder .*name the \.onnx file"):
        read_onnx(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no file"):
        read_onnx(tmp_path / "pipe")


def test_more_than_an_onnx_file_holds_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "net.onnx").open("wb") as stream:
        stream.truncate(3_000_000_000)  # sparse: it takes no room
    with pytest.raises(CheckpointError, match=r"3\.0 GB"):
        read_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: setattr(m, "ir_version", 99), "newer ONNX .IR 99.*update onnx"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "newer ONNX .*opset 99"),
        (lambda m: setattr(m.opset_import[0], "version", 9), "opset 9 is older"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Frobnicate"), "not valid: .*Frobnicate"),
        (
            lambda m: setattr(m.graph.node[0], "domain", "my.ops"),
            "uses my.ops.Relu, an operator of",
        ),
        (lambda m: m.graph.node[1].input.__setitem__(0, "absent"), "not valid: "),
    ],
)
def test_a_graph_that_cannot_run_is_refused(
    tmp_path: Path,
    model: onnx.ModelProto,
    change: Callable[[onnx.ModelProto], None],
    text: str,
) -> None:
    model.graph.node.sort(key=lambda node: node.op_type != "Relu") if "my.ops" in text else None
    change(model)
    with pytest.raises(CheckpointError, match=text):
        read_onnx(save(model, tmp_path / "net.onnx"))


def with_functions(model: onnx.ModelProto, *bodies: tuple[str, str]) -> onnx.ModelProto:
    """Local functions by name and what each calls."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for name, called in bodies:
        domain = "" if called == "Relu" else "local"
        node = helper.make_node(called, ["x"], ["y"], domain=domain)
        model.functions.append(helper.make_function("local", name, ["x"], ["y"], [node], opsets))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = bodies[0][0], "local"
    model.opset_import.append(opsets[1])
    return model


def test_local_functions_are_inlined(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = save(with_functions(model, ("Outer", "Inner"), ("Inner", "Relu")), tmp_path / "net.onnx")
    proto = read_onnx(path).proto
    assert not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}


def test_functions_that_call_themselves_are_refused(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = save(with_functions(model, ("A", "B"), ("B", "A")), tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match="its functions call themselves"):
        read_onnx(path)


def external(model: onnx.ModelProto, folder: Path, **entries: str) -> Path:
    """The file with its largest weight in weights.bin, and the entries that name it changed."""
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    (folder / WEIGHTS).write_bytes(b"\0" * 16 + tensor.raw_data)
    places = {"location": WEIGHTS, "offset": "16", "length": str(len(tensor.raw_data)), **entries}
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in places.items():
        tensor.external_data.add(key=key, value=value)
    return save(model, folder / "net.onnx")


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    whole = graphs.yolov8()
    (tmp_path / "sub").mkdir()
    path = external(graphs.yolov8(), tmp_path, location=f"sub/{WEIGHTS}")
    (tmp_path / WEIGHTS).rename(tmp_path / "sub" / WEIGHTS)
    assert read_onnx(path).proto == read_onnx(save(whole, tmp_path / "whole.onnx")).proto


@pytest.mark.row(106)
@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../outside.bin"},
        {"location": "a/../../outside.bin"},
        {"location": "/etc/passwd"},
        {"location": "/proc/self/environ"},
        {"location": ""},
        {"location": "a\0b"},
        {"location": "symlink"},
        {"location": "linked/alone.bin"},
        {"location": "hardlink"},
        {"location": "pipe"},
        {"location": "."},
        {"location": "absent"},
        {"offset": "-4096"},
        {"offset": "17"},
        {"length": "1000000000000000"},
        {"length": "nan"},
        {"__class__": "x"},
    ],
)
def test_weights_from_anywhere_else_are_never_opened(
    tmp_path: Path, model: onnx.ModelProto, entries: dict[str, str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"\0" * 1_000_000)
    (tmp_path / "alone.bin").write_bytes(outside.read_bytes())
    (folder / "symlink").symlink_to(tmp_path / "alone.bin")
    (folder / "linked").symlink_to(tmp_path)
    os.link(outside, folder / "hardlink")
    os.mkfifo(folder / "pipe")
    with pytest.raises(CheckpointError, match="its external data"):
        read_onnx(external(model, folder, **entries))


def test_weights_in_subgraphs_are_found_too(tmp_path: Path, model: onnx.ModelProto) -> None:
    inner = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], b"\0" * 4, raw=True)
    inner.ClearField("raw_data")
    inner.data_location = onnx.TensorProto.EXTERNAL
    inner.external_data.add(key="location", value="../outside.bin")
    constant = helper.make_node("Constant", [], ["c"], value=inner)
    out = helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [1])
    branch = helper.make_graph([constant], "branch", [], [out])
    yes = helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True])
    model.graph.initializer.append(yes)
    node = helper.make_node("If", ["yes"], ["unused"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    with pytest.raises(CheckpointError, match=r"tensor w.*weights in a file beside it"):
        read_onnx(save(model, tmp_path / "net.onnx"))


def test_the_limit_of_size_holds_over_all_weights(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = external(model, tmp_path)
    monkeypatch.setattr("inferctl.export.imported.external.MAX_GRAPH_BYTES", 100)
    with pytest.raises(CheckpointError, match="GB limit"):
        source.read_onnx(path)


def test_a_file_that_is_too_large_with_its_weights_is_refused(
    tmp_path: Path, model: onnx.ModelProto
) -> None:
    class Huge:
        graph = model.graph

        def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's name
            raise ValueError("exceeds maximum protobuf size")

    request = ImportRequest(save(model, tmp_path / "net.onnx"))
    described = describe_model(read_onnx(request.checkpoint), request)
    with pytest.raises(CheckpointError, match="larger than the 2 GB"):
        Original(replace(described, file=replace(described.file, proto=Huge())))
