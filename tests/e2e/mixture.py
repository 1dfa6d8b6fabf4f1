"""A bundle whose inputs are of every dtype, and come back as its outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from inferctl.bundles.manifest import GRAPH_FILE
from tests.graphs import UNWRITTEN, write_bundle

# By numpy's name of the dtype.
KINDS = {
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
}


def write_mixture(models: Path) -> None:
    """Write `mixture`, version 1; its rows are four numbers of each dtype."""
    names = KINDS.values()
    ends = {
        prefix: [
            helper.make_tensor_value_info(
                f"{prefix}_{name}", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), ["rows", 4]
            )
            for kind, name in KINDS.items()
        ]
        for prefix in ("in", "out")
    }
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in names]
    graph = helper.make_graph(nodes, "mixture", ends["in"], ends["out"])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    tensors = {
        prefix: [
            {"name": f"{prefix}_{name}", "dtype": kind, "shape": ["rows", 4]}
            for kind, name in KINDS.items()
        ]
        for prefix in ("in", "out")
    }
    write_bundle(
        models / "mixture" / "1",
        model,
        {
            "name": "mixture",
            "version": 1,
            "task": "tensor",
            "inputs": tensors["in"],
            "outputs": tensors["out"],
            "labels": [],
            "opset": 17,
            "producer": "tests",
            "created_at": "2026-01-01T00:00:00Z",
            "files": {GRAPH_FILE: UNWRITTEN},
        },
    )
