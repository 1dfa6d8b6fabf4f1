"""Which nodes run in int8, and that the same input gives the same bytes."""

from __future__ import annotations

import hashlib
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
from inferctl.export.quantise import dynamic_int8, static_int8

from .conftest import LoadTiny

CALIBRATE = """
import sys, hashlib, numpy as np
from pathlib import Path
from inferctl.export.quantise import dynamic_int8, static_int8
model = Path(sys.argv[1]).read_bytes()
rows = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
done = dynamic_int8(model) if sys.argv[2] == "text" else static_int8(model, "image", list(rows))
assert "torch" not in sys.modules
print(hashlib.sha256(done).hexdigest())
"""


def rows() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8))


def kinds(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def in_float(model: bytes, kind: str) -> list[bool]:
    """For every node of a kind, whether its weights, or what it takes, no dequantiser made."""
    graph = onnx.load_from_string(model).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    nodes = [node for node in graph.node if node.op_type == kind]
    return [makers.get(list(node.input)[:2][-1]) != "DequantizeLinear" for node in nodes]


@pytest.fixture(scope="module")
def deep(load_tiny: LoadTiny) -> bytes:
    return draw_graph(load_tiny("DeepClassifier")).model


@pytest.fixture(scope="module")
def boxes(load_tiny: LoadTiny) -> bytes:
    return draw_graph(load_tiny("DeepDetector")).model


def test_convolutions_run_in_int8_and_the_head_does_not(deep: bytes) -> None:
    done = static_int8(deep, "image", rows())
    assert in_float(done, "Conv") == [False, False, False]
    assert in_float(done, "Gemm") == [True]
    assert in_float(done, "Softmax") == [True]
    weights = [t for t in onnx.load_from_string(done).graph.initializer if "weight_quant" in t.name]
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in weights}
    assert onnx.TensorProto.UINT8 not in {tensor.data_type for tensor in weights}
    assert len(done) < len(deep)


def test_what_predicts_boxes_stays_in_float(boxes: bytes) -> None:
    done = static_int8(boxes, "image", rows(), float_predictions=True)
    assert in_float(done, "Conv") == [False, True]
    assert in_float(static_int8(boxes, "image", rows()), "Conv") == [False, False]


def test_matrix_products_of_texts_run_in_int8(published: dict[str, ExportResult]) -> None:
    model = (published["text-classification"].path / "model.onnx").read_bytes()
    done = dynamic_int8(model)
    assert "MatMulInteger" in kinds(done)
    assert "MatMulInteger" not in kinds(model)


def test_a_graph_without_anything_to_quantise_is_refused(
    published: dict[str, ExportResult],
) -> None:
    words = (published["text-factory"].path / "model.onnx").read_bytes()
    detector = (published["image-detection"].path / "model.onnx").read_bytes()
    with pytest.raises(VerificationError, match="nothing in the graph can run in int8"):
        dynamic_int8(words)
    with pytest.raises(VerificationError, match="nothing in the graph can run in int8"):
        static_int8(detector, "image", rows(), float_predictions=True)


def test_what_the_quantiser_cannot_read_is_one_line(deep: bytes) -> None:
    with pytest.raises(VerificationError, match="cannot quantise the graph") as caught:
        static_int8(deep[: len(deep) // 2], "image", rows())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_another_process_makes_the_same_bytes(
    published: dict[str, ExportResult], deep: bytes, tmp_path: Path, kind: str
) -> None:
    """Names are kept in sets by the quantiser; their order differs between processes."""
    model = tmp_path / "model.onnx"
    text = (published["text-classification"].path / "model.onnx").read_bytes()
    model.write_bytes(deep if kind == "image" else text)
    here = static_int8(deep, "image", rows()) if kind == "image" else dynamic_int8(text)
    elsewhere = {
        subprocess.run(
            [sys.executable, "-c", CALIBRATE, str(model), kind],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert elsewhere == {hashlib.sha256(here).hexdigest()}
