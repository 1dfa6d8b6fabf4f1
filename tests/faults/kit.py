"""Tiny ONNX models that go wrong on purpose, as bundles of the task `tensor`.

Each takes one number a row (`x`) and answers it again (`y`), unless the number is one that makes it
go wrong. So whoever asks can tell an answer that is not his.

| model  | x       | goes wrong                                                                   |
|--------|---------|------------------------------------------------------------------------------|
| echo   | float32 | never; four numbers a row                                                    |
| gather | int64   | x >= VOCABULARY: the run fails, of every row in the batch                    |
| divmin | int32   | x = LEAST: the process dies of SIGFPE; answers -x                            |
| alloc  | int64   | a batch asks for the sum of its x in bytes: from HUGE on there are never any |
| loop   | int64   | x rounds that `RunOptions.terminate` ends: ENDLESS never end by themselves   |
| matmul | int64   | one product of x times x matrices, which nothing ends: LONG takes seconds    |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.graphs import image_fields, write_bundle

VOCABULARY = 1000
LEAST = -(2**31)
HUGE = 2**42
ENDLESS = 2**40
LONG = 6000

KINDS = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


class Fault(NamedTuple):
    """A model of the kit: the dtype and the width of its rows, and its graph."""

    dtype: str
    width: int
    graph: Callable[[], ModelProto]


def write_kit(models: Path, *names: str) -> None:
    """Write bundles into a folder of models: those of these names, or all."""
    for name in names or FAULTS:
        write_bundle(models / name / "1", FAULTS[name].graph(), fields_of(name))


def fields_of(name: str) -> dict[str, Any]:
    """The manifest of a model as JSON would hold it."""
    dtype, width, _ = FAULTS[name]
    x, y = ({"name": end, "dtype": dtype, "shape": ["rows", width]} for end in "xy")
    buckets = {"rows": [1, 2, 4, 8], "tokens": []}
    fields = image_fields(
        name=name, task="tensor", labels=[], inputs=[x], outputs=[y], buckets=buckets
    )
    del fields["image"]
    return fields


def echo() -> ModelProto:
    return model("float32", 4, [helper.make_node("Identity", ["x"], ["y"])])


def gather() -> ModelProto:
    """The x-th number of a table, which is x."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = helper.make_tensor("table", TensorProto.INT64, [VOCABULARY], range(VOCABULARY))
    return model("int64", 1, nodes, table)


def divmin() -> ModelProto:
    """The quotient of the least integer and -1 is none, and the processor says so."""
    return model("int32", 1, [helper.make_node("Div", ["x", "less"], ["y"])], less=(-1, "int32"))


def alloc() -> ModelProto:
    zeros = helper.make_tensor("zero", TensorProto.UINT8, [1], [0])
    nodes = [
        helper.make_node("ReduceSum", ["x", "first"], ["bytes"], keepdims=0),
        helper.make_node("Reshape", ["bytes", "one"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"], value=zeros),
        *_nothing_of("zeros"),
    ]
    return model("int64", 1, nodes, first=(0, "int64"), one=(1, "int64"))


def loop() -> ModelProto:
    """The rounds of the largest x of the batch."""
    ends = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (
            ("round", TensorProto.INT64), ("go_on", TensorProto.BOOL),
            ("count", TensorProto.INT64), ("goes_on", TensorProto.BOOL),
            ("counted", TensorProto.INT64),
        )
    ]  # fmt: skip
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("Add", ["count", "round"], ["counted"]),
        ],
        "round",
        ends[:3],
        ends[3:],
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [1])
    start = helper.make_tensor("start", TensorProto.INT64, [], [0])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["rounds"], keepdims=0),
        helper.make_node("Loop", ["rounds", "true", "start"], ["rounded"], body=body),
        helper.make_node("Mul", ["rounded", "nought"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    return model("int64", 1, nodes, true, start, nought=(0, "int64"))


def matmul() -> ModelProto:
    """The square of a matrix as long and wide as the largest x of the batch."""
    ones = helper.make_tensor("ones", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Reshape", ["largest", "one"], ["side"]),
        helper.make_node("Concat", ["side", "side"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["matrix"], value=ones),
        helper.make_node("MatMul", ["matrix", "matrix"], ["square"]),
        *_nothing_of("square"),
    ]
    return model("int64", 1, nodes, one=(1, "int64"))


def _nothing_of(name: str) -> list[NodeProto]:
    """`y`: x and none of a tensor, which has to be made for it nevertheless."""
    return [
        helper.make_node("Size", [name], ["size"]),
        helper.make_node("Sub", ["size", "size"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]


def model(
    dtype: str,
    width: int,
    nodes: Sequence[NodeProto],
    *tensors: TensorProto,
    **constants: tuple[Any, str],
) -> ModelProto:
    """A graph from `x` to `y`, each so many numbers a row; constants are single numbers."""
    kind = KINDS[dtype]
    x, y = (helper.make_tensor_value_info(end, kind, ["rows", width]) for end in "xy")
    singles = [
        helper.make_tensor(name, KINDS[of], [1], [value]) for name, (value, of) in constants.items()
    ]
    graph = helper.make_graph(nodes, "fault", [x], [y], [*tensors, *singles])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


FAULTS = {
    "echo": Fault("float32", 4, echo),
    "gather": Fault("int64", 1, gather),
    "divmin": Fault("int32", 1, divmin),
    "alloc": Fault("int64", 1, alloc),
    "loop": Fault("int64", 1, loop),
    "matmul": Fault("int64", 1, matmul),
}
