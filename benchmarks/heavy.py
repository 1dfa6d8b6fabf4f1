"""A model that takes so many milliseconds of one core per row, whatever the row: for overload."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.workloads import measured_file
from inferctl import __version__
from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE, Manifest
from inferctl.export.publish import publish

NAME = "heavy"
BODY = b'{"inputs":[1,2,3,4]}'
OPSET = 18
# Each row is a matrix of so many rows and columns, multiplied so often by a square one.
HEIGHT, WIDTH = 64, 256
TRIAL_PRODUCTS = 64
TIMED_RUNS = 40


def write_heavy(models: Path, row_ms: float) -> None:
    """The bundle `heavy` with rows of about that cost, measured here and now."""
    trial_ms = _row_ms(_graph(TRIAL_PRODUCTS))
    products = max(1, round(TRIAL_PRODUCTS * row_ms / trial_ms))
    graph = _graph(products).SerializeToString()
    publish(models / NAME / "1", _bundle(graph), force=True)


def _graph(products: int) -> ModelProto:
    """[rows, 4] → [rows, HEIGHT, WIDTH], multiplied again and again → [rows, 3]."""
    rng = np.random.default_rng(7)
    turn, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    weights: dict[str, npt.NDArray[Any]] = {
        "spread": rng.normal(size=(4, WIDTH)).astype(np.float32),
        "turn": turn.astype(np.float32),
        "height": np.array([1, HEIGHT, 1], np.int64),
        "middle": np.array([1], np.int64),
        "first": np.array([0], np.int64),
        "last": np.array([3], np.int64),
    }
    steps = [f"turned_{number}" for number in range(products + 1)]
    nodes = [
        helper.make_node("MatMul", ["input", "spread"], ["wide"]),
        helper.make_node("Unsqueeze", ["wide", "middle"], ["flat"]),
        helper.make_node("Expand", ["flat", "height"], [steps[0]]),
        *(helper.make_node("MatMul", [one, "turn"], [next_]) for one, next_ in pairwise(steps)),
        helper.make_node("ReduceMean", [steps[-1], "middle"], ["mean"], keepdims=0),
        helper.make_node("Slice", ["mean", "first", "last", "middle"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("input", 4), ("logits", 3))
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, NAME, ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _row_ms(graph: ModelProto) -> float:
    """CPU of one row on one thread, the least of some runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])
    row = {"input": np.ones((1, 4), np.float32)}
    took_s = []
    for _ in range(TIMED_RUNS + 1):
        begun_s = time.process_time()
        session.run(None, row)
        took_s.append(time.process_time() - begun_s)
    return 1000 * min(took_s[1:])


def _bundle(graph: bytes) -> dict[str, bytes]:
    manifest = Manifest.model_validate(
        {
            "name": NAME,
            "version": 1,
            "task": "tensor",
            "inputs": [{"name": "input", "dtype": "float32", "shape": ["rows", 4]}],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": ["rows", 3]}],
            "labels": [],
            "opset": OPSET,
            "producer": f"inferctl {__version__} benchmarks",
            "files": {GRAPH_FILE: measured_file(graph)},
        }
    )
    document = manifest.model_dump_json(indent=2, exclude_none=True).encode()
    return {GRAPH_FILE: graph, MANIFEST_FILE: document + b"\n"}
