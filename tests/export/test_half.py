"""fp16: which nodes stay in fp32, and how they are found."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import pytest

from inferctl.errors import VerificationError
from inferctl.export import ExportResult
from inferctl.export.drawn import Graph
from inferctl.export.graph import draw_graph
from inferctl.export.half import Overflow, half_precision, named, smallest_kept
from inferctl.export.halves import to_half
from inferctl.export.onnxfile import read_graph, write_graph
from inferctl.export.samples import samples

from .conftest import LoadTiny

NODES = [f"n{number}" for number in range(100)]


class Needs:
    """A graph that works when certain nodes are kept; counts how often it was tried."""

    def __init__(self, *nodes: str) -> None:
        self.nodes = set(nodes)
        self.trials = 0

    def __call__(self, kept: Collection[str]) -> bool:
        self.trials += 1
        return self.nodes <= set(kept)


@pytest.mark.parametrize(
    "nodes", [("n0",), ("n99",), ("n41", "n42"), ("n3", "n97"), ("n10", "n11", "n12")]
)
def test_the_smallest_set_is_found_in_few_trials(nodes: tuple[str, ...]) -> None:
    needs = Needs(*nodes)
    assert smallest_kept(NODES, needs) == nodes
    assert needs.trials <= 80


def test_a_search_that_takes_too_long_ends_with_what_works() -> None:
    needs = Needs("n3", "n40", "n60", "n97")
    kept = smallest_kept(NODES, needs, trials=12)
    assert needs.trials <= 12
    assert needs.nodes <= set(kept)


def graph_of(load_tiny: LoadTiny, model: str, folder: Path) -> tuple[Graph, list]:
    loaded = load_tiny(model)
    return draw_graph(loaded, folder / "fp32"), list(samples(loaded))


def size(file: Path) -> int:
    return sum(path.stat().st_size for path in file.parent.iterdir())


def test_a_calm_model_is_fp16_throughout_between_its_ends(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    graph, batches = graph_of(load_tiny, "DeepClassifier", tmp_path)
    half = half_precision(graph.file, tmp_path / "fp16", batches, lambda file: True)
    assert (half.kept, half.trials) == ((), 1)
    proto = onnx.load(half.file)
    assert [t.type.tensor_type.elem_type for t in proto.graph.output] == [onnx.TensorProto.FLOAT]
    weights = {tensor.data_type for tensor in proto.graph.initializer if len(tensor.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16}
    assert size(half.file) < 0.75 * size(graph.file)
    onnx.checker.check_model(half.file)


def test_layers_that_overflow_are_found_and_kept_in_fp32(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    graph, batches = graph_of(load_tiny, "Overflowing", tmp_path)
    proto = named(read_graph(graph.file))
    overflow = Overflow(graph.file, batches)
    everything = to_half(proto, (), graph.file.parent)
    assert overflow.of(write_graph(everything, tmp_path / "all", weights_in=graph.file.parent))

    half = half_precision(graph.file, tmp_path / "fp16", batches, lambda file: True)

    kinds = {node.name: node.op_type for node in proto.graph.node}
    assert {kinds[name] for name in half.kept} <= {"Mul", "Div", "ReduceMean"}
    assert "Mul" in {kinds[name] for name in half.kept}
    assert not overflow.of(half.file)


def test_an_attention_mask_is_no_overflow(
    published: dict[str, ExportResult], tmp_path: Path
) -> None:
    result = published["text-classification"]
    model, batches = result.path / "model.onnx", list(samples(result.loaded))
    half = half_precision(model, tmp_path / "fp16", batches, lambda file: True)
    assert (half.kept, half.trials) == ((), 1)
    onnx.checker.check_model(half.file)


def test_weights_are_cut_to_the_range_but_infinity_and_what_is_not_zero_stay() -> None:
    values = np.array([1e9, -3.4e38, -np.inf, 1e-12, 0, 0.5], np.float32)
    nodes = [onnx.helper.make_node("Mul", ["x", "w"], ["y"], "times")]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [6]) for name in "xy"]
    weights = [onnx.numpy_helper.from_array(values, "w")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    half = to_half(onnx.helper.make_model(graph), (), Path())
    (weight,) = (onnx.numpy_helper.to_array(tensor) for tensor in half.graph.initializer)
    assert weight.dtype == np.float16
    assert weight[:3].tolist() == [60000, -60000, -np.inf]
    assert weight[3] > 0
    assert weight[4:].tolist() == [0, 0.5]


def test_what_no_set_of_nodes_mends_is_refused(load_tiny: LoadTiny, tmp_path: Path) -> None:
    graph, batches = graph_of(load_tiny, "DeepClassifier", tmp_path)
    with pytest.raises(VerificationError, match="even with every node kept in fp32"):
        half_precision(graph.file, tmp_path / "fp16", batches, lambda file: False)


def test_nodes_get_names_of_their_own() -> None:
    nodes = [
        onnx.helper.make_node("Relu", [left], [right], name=name)
        for left, right, name in (("a", "b", ""), ("b", "c", "same"), ("c", "d", "same"))
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "ad"]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:]))
    names = [node.name for node in named(model).graph.node]
    assert len(set(names)) == 3
    assert names[1] == "same"
