"""What a tensor model answers, and what its schemas say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest

from inferctl.refusals import NonFiniteOutput
from inferctl.tasks.base import Task

from .tensors import GRID, MAX_ROWS, ONE, ROW, TWO, prepared
from .tinybundles import timed


def test_the_outputs_have_a_rows_axis_when_the_inputs_had() -> None:
    one_row = {"logits": np.array([[0.25, -1, 2]], np.float32)}
    two_rows = {"logits": np.array([[0.25, -1, 2], [0, 0, 8]], np.float32)}
    assert _answered(ROW, one_row) == {"outputs": {"logits": [0.25, -1, 2]}}
    assert _answered([ROW], one_row) == {"outputs": {"logits": [[0.25, -1, 2]]}}
    assert _answered([ROW] * 2, two_rows) == {"outputs": {"logits": [[0.25, -1, 2], [0, 0, 8]]}}


def _answered(inputs: object, outputs: dict[str, Any]) -> dict[str, Any]:
    return ONE.postprocess(prepared(ONE, inputs).context, outputs)


def outputs_of_two() -> dict[str, Any]:
    return {"sum": np.array([0.5], np.float16), "_grid": np.array([GRID], np.int32)}


def test_every_output_is_named_and_keeps_its_kind_of_number() -> None:
    request = prepared(TWO, {"copy": 1, "model/grid.1": GRID})
    answer = TWO.postprocess(request.context, outputs_of_two())
    assert orjson.dumps(answer) == b'{"outputs":{"sum":0.5,"_grid":[[1,2],[3,255]]}}'


def test_an_answer_does_not_change_with_the_memory_it_came_from() -> None:
    outputs = outputs_of_two()
    answer = TWO.postprocess(False, outputs)
    outputs["_grid"][:] = 0
    assert answer["outputs"]["_grid"] == GRID


@pytest.mark.row(79)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_a_number_that_json_does_not_have_fails_the_row(
    value: float, place: tuple[int, int]
) -> None:
    logits = np.zeros((2, 3), np.float32)
    logits[place] = value
    with pytest.raises(NonFiniteOutput, match="not a finite number"):
        ONE.postprocess(True, {"logits": logits})


def test_the_largest_numbers_do_not_fail() -> None:
    most = float(np.finfo(np.float32).max)
    answer = ONE.postprocess(True, {"logits": np.full((2, 3), most, np.float32)})
    assert answer["outputs"]["logits"] == [[most] * 3] * 2


@pytest.mark.parametrize("has_rows", [False, True])
@pytest.mark.parametrize("task", [ONE, TWO])
def test_an_answer_fits_its_own_schema(task: Task, has_rows: bool) -> None:
    outputs = {"logits": np.ones((1, 3), np.float32)} if task is ONE else outputs_of_two()
    answer = timed(task.postprocess(has_rows, outputs))
    model = task.answer.model_validate_json(orjson.dumps(answer), strict=True)
    assert model.model_dump(mode="json", by_alias=True) == answer


@pytest.mark.parametrize("task", [ONE, TWO])
def test_the_example_is_a_request_that_the_task_takes(task: Task) -> None:
    request = task.preprocess(task.read_json(orjson.dumps(task.example())))
    assert request.rows == 1
    assert not any(array.any() for array in request.tensors.values())


def test_the_schema_says_names_lengths_and_bounds() -> None:
    inputs = TWO.request.model_json_schema()["$defs"]["SumsInputs"]
    assert inputs["required"] == ["model/grid.1", "copy"]
    assert inputs["additionalProperties"] is False
    row, rows = inputs["properties"]["model/grid.1"]["anyOf"]
    value = {"type": "integer", "minimum": 0, "maximum": 255}
    line = {"type": "array", "items": value, "minItems": 2, "maxItems": 2}
    assert row == {"type": "array", "items": line, "minItems": 2, "maxItems": 2}
    assert rows == {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}
    outputs = TWO.answer.model_json_schema(mode="serialization")["$defs"]["SumsOutputs"]
    assert outputs["required"] == ["sum", "_grid"]


def test_the_schema_of_a_single_input_has_both_forms() -> None:
    row, rows, named = ONE.request.model_json_schema()["properties"]["inputs"]["anyOf"]
    assert (row["minItems"], row["maxItems"], row["items"]["type"]) == (4, 4, "number")
    assert (rows["items"], rows["maxItems"]) == (row, MAX_ROWS)
    assert named == {"$ref": "#/$defs/SumsInputs"}
