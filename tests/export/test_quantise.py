"""Which nodes run in int8, and that the same input gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from inferctl.errors import VerificationError
from inferctl.export import ExportResult
from inferctl.export.graph import draw_graph
from inferctl.export.onnxfile import published_sha256
from inferctl.export.quantise import dynamic_int8, static_int8

from .conftest import LoadTiny

CALIBRATE = """
import sys, numpy as np
from pathlib import Path
from inferctl.export.onnxfile import published_sha256
from inferctl.export.quantise import dynamic_int8, static_int8
model, folder = Path(sys.argv[1]), Path(sys.argv[3])
rows = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
if sys.argv[2] == "text":
    done = dynamic_int8(model, folder)
else:
    done = static_int8(model, folder, "image", list(rows))
assert "torch" not in sys.modules
print(published_sha256(done, 1_000_000))
"""


def rows() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8))


def size(file: Path) -> int:
    return sum(path.stat().st_size for path in file.parent.iterdir())


def kinds(model: Path) -> list[str]:
    return [node.op_type for node in onnx.load(model).graph.node]


def in_float(model: Path, kind: str) -> list[bool]:
    """For every node of a kind, whether its weights, or what it takes, no dequantiser made."""
    graph = onnx.load(model).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    nodes = [node for node in graph.node if node.op_type == kind]
    return [makers.get(list(node.input)[:2][-1]) != "DequantizeLinear" for node in nodes]


@pytest.fixture(scope="module")
def deep(load_tiny: LoadTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_graph(load_tiny("DeepClassifier"), tmp_path_factory.mktemp("deep") / "fp32").file


@pytest.fixture(scope="module")
def boxes(load_tiny: LoadTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_graph(load_tiny("DeepDetector"), tmp_path_factory.mktemp("boxes") / "fp32").file


def test_convolutions_run_in_int8_and_the_head_does_not(deep: Path, tmp_path: Path) -> None:
    done = static_int8(deep, tmp_path / "int8", "image", rows())
    assert in_float(done, "Conv") == [False, False, False]
    assert in_float(done, "Gemm") == [True]
    assert in_float(done, "Softmax") == [True]
    weights = [t for t in onnx.load(done).graph.initializer if "weight_quant" in t.name]
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in weights}
    assert onnx.TensorProto.UINT8 not in {tensor.data_type for tensor in weights}
    assert size(done) < size(deep)


def test_weights_have_seven_bits_so_that_no_cpu_s_sums_overflow(
    deep: Path, published: dict[str, ExportResult], tmp_path: Path
) -> None:
    text = published["text-classification"].path / "model.onnx"
    for done in (
        static_int8(deep, tmp_path / "static", "image", rows()),
        dynamic_int8(text, tmp_path / "dynamic"),
    ):
        graph = onnx.load(done).graph
        found = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8]
        weights = [onnx.numpy_helper.to_array(tensor) for tensor in found]
        weights = [weight for weight in weights if weight.ndim > 1]
        assert weights
        assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) == 64


def test_what_predicts_boxes_stays_in_float(boxes: Path, tmp_path: Path) -> None:
    done = static_int8(boxes, tmp_path / "kept", "image", rows(), float_predictions=True)
    assert in_float(done, "Conv") == [False, True]
    done = static_int8(boxes, tmp_path / "all", "image", rows())
    assert in_float(done, "Conv") == [False, False]


def test_matrix_products_of_texts_run_in_int8(
    published: dict[str, ExportResult], tmp_path: Path
) -> None:
    model = published["text-classification"].path / "model.onnx"
    done = dynamic_int8(model, tmp_path / "int8")
    assert "MatMulInteger" in kinds(done)
    assert "MatMulInteger" not in kinds(model)


def test_a_graph_without_anything_to_quantise_is_refused(
    published: dict[str, ExportResult], tmp_path: Path
) -> None:
    words = published["text-factory"].path / "model.onnx"
    detector = published["image-detection"].path / "model.onnx"
    with pytest.raises(VerificationError, match="nothing in the graph can run in int8"):
        dynamic_int8(words, tmp_path / "words")
    with pytest.raises(VerificationError, match="nothing in the graph can run in int8"):
        static_int8(detector, tmp_path / "boxes", "image", rows(), float_predictions=True)


def test_what_the_quantiser_cannot_read_is_one_line(deep: Path, tmp_path: Path) -> None:
    cut = tmp_path / "model.onnx"
    cut.write_bytes(deep.read_bytes()[: deep.stat().st_size // 2])
    with pytest.raises(VerificationError, match="cannot quantise the graph") as caught:
        static_int8(cut, tmp_path / "int8", "image", rows())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_another_process_makes_the_same_bytes(
    published: dict[str, ExportResult], deep: Path, tmp_path: Path, kind: str
) -> None:
    """Names are kept in sets by the quantiser; their order differs between processes."""
    text = published["text-classification"].path / "model.onnx"
    model = deep if kind == "image" else text
    if kind == "image":
        here = static_int8(model, tmp_path / "here", "image", rows())
    else:
        here = dynamic_int8(model, tmp_path / "here")
    elsewhere = {
        subprocess.run(
            [sys.executable, "-c", CALIBRATE, str(model), kind, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert elsewhere == {published_sha256(here, 1_000_000)}
