"""What is asked of a graph before it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from inferctl.errors import CheckpointError, VerificationError
from inferctl.export import ExportResult
from inferctl.export import graph as graph_module
from inferctl.export.compare import Tolerance
from inferctl.export.drawn import check_axes
from inferctl.export.graph import draw_graph, opset_of, strip_origins
from inferctl.export.verify import references, verify_graph
from inferctl.export.wrap import run_example

from . import tinymodels
from .conftest import LoadTiny, settle
from .kinds import PICTURES, silence


def model(first: object) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [first, "tokens"])
    out = helper.make_tensor_value_info("scores", TensorProto.INT64, ["rows", "tokens"])
    node = helper.make_node("Identity", ["input_ids"], ["scores"], doc_string="/home/me/a.py")
    inner = helper.make_graph([node], "inner", [], [out], doc_string="/home/me/b.py")
    branch = helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    return helper.make_model(helper.make_graph([node, branch], "outer", [value], [out]))


@pytest.mark.row(182)
def test_an_axis_that_is_fixed_or_nameless_is_refused() -> None:
    axes = {"input_ids": ("rows", "tokens")}
    check_axes(model("rows"), axes)
    with pytest.raises(
        VerificationError, match=r"rows axis is fixed at 2 \(tensor input_ids, axis 0"
    ):
        check_axes(model(2), axes)
    with pytest.raises(VerificationError, match="rows axis is not named"):
        check_axes(model(None), axes)


def test_origins_are_stripped_in_every_subgraph() -> None:
    proto = model("rows")
    strip_origins(proto)
    assert b"/home/me" not in proto.SerializeToString()


@pytest.mark.row(184)
@pytest.mark.parametrize("model", [tinymodels.Branching, tinymodels.NotDrawable])
def test_a_model_that_cannot_be_drawn_says_so(
    published: dict[str, ExportResult], model: type, tmp_path: Path
) -> None:
    loaded = replace(published["image-classification"].loaded, module=settle(model()))
    with pytest.raises(VerificationError, match="cannot be drawn as a graph: ") as caught:
        draw_graph(loaded, tmp_path / "fp32")
    assert ("no ONNX form" in str(caught.value)) == (model is tinymodels.NotDrawable)


@pytest.mark.row(182)
def test_rows_that_tracing_fixed_are_found_by_running(
    published: dict[str, ExportResult], tmp_path: Path
) -> None:
    """The exporter of TorchScript names the axis free even where the graph inside it is not."""
    with silence():
        traced = torch.jit.trace(settle(tinymodels.RowLoop()), PICTURES)
    loaded = replace(published["image-classification"].loaded, module=traced)
    graph = draw_graph(loaded, tmp_path / "fp32")
    assert graph.opset == 18
    with pytest.raises(VerificationError, match="sample 1 picture"):
        verify_graph(graph, loaded, references(graph, loaded), Tolerance(1e-4, 1e-3))


@pytest.mark.row(184)
def test_what_the_older_exporter_cannot_write_is_refused_before_it_is_drawn(
    published: dict[str, ExportResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(graph_module, "MAX_GRAPH_BYTES", 10)
    with silence():
        traced = torch.jit.trace(settle(tinymodels.Classifier()), PICTURES)
    loaded = replace(published["image-classification"].loaded, module=traced)
    with pytest.raises(CheckpointError, match=r"older exporter, .* writes 2 GB at most"):
        draw_graph(loaded, tmp_path / "fp32")


def test_a_module_that_returns_nothing_usable_is_described(
    published: dict[str, ExportResult],
) -> None:
    subject = published["image-classification"].loaded
    rows = (torch.zeros(2, 3),)
    for returned, text in (
        ((torch.zeros(2, 3), torch.zeros(2)), r"float32 \[2, 3\], float32 \[2\]"),
        (({"logits": 1},), "returns dict"),
        ((torch.zeros(3, 3),), r"float32 \[3, 3\]"),
        ((), "returns nothing"),
    ):
        with pytest.raises(CheckpointError, match=text):
            run_example(lambda x, returned=returned: returned, rows, subject)


@pytest.mark.parametrize(("opset", "written"), [(18, 18), (23, 23), (None, 20)])
def test_a_graph_is_written_in_the_opset_asked_for(
    load_tiny: LoadTiny, tmp_path: Path, opset: int | None, written: int
) -> None:
    graph = draw_graph(load_tiny("Classifier"), tmp_path / "fp32", opset)
    assert graph.opset == opset_of(onnx.load(graph.file)) == written


@pytest.mark.row(184)
def test_an_opset_that_torch_cannot_convert_to_is_refused(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError, match="cannot be written in opset 9, only in 18"):
        draw_graph(load_tiny("Classifier"), tmp_path / "fp32", 9)
