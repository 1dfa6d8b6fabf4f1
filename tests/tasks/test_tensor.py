"""Which nested lists are taken, and how they become rows."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferctl.refusals import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.tasks.base import Task
from inferctl.tasks.tensor import TensorTask

from .tensors import GRID, LIMITS, MAX_ROWS, ONE, ROW, TWO, prepared
from .tinybundles import detector, numbers, task_of, tensor


def refusal(task: Task, inputs: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        prepared(task, inputs)
    return caught.value


def task_for_dtype(dtype: str) -> Task:
    return task_of(numbers(inputs=(tensor("input", dtype, 1),)))


@pytest.mark.parametrize("inputs", [ROW, {"input": ROW}])
def test_one_row_gets_a_rows_axis(inputs: object) -> None:
    request = prepared(ONE, inputs)
    assert list(request.tensors) == ["input"]
    assert request.tensors["input"].tolist() == [ROW]
    assert request.tensors["input"].dtype == np.float32
    assert (request.rows, request.tokens) == (1, 1)


@pytest.mark.parametrize("rows", [1, 2, MAX_ROWS])
def test_several_rows_are_taken_as_they_are(rows: int) -> None:
    for inputs in ([ROW] * rows, {"input": [ROW] * rows}):
        request = prepared(ONE, inputs)
        assert request.tensors["input"].tolist() == [ROW] * rows
        assert request.rows == rows


def test_several_inputs_are_named() -> None:
    request = prepared(TWO, {"copy": -7, "model/grid.1": GRID})
    assert request.rows == 1
    assert request.tensors["model/grid.1"].tolist() == [GRID]
    assert request.tensors["model/grid.1"].dtype == np.uint8
    assert request.tensors["copy"].tolist() == [-7]
    assert request.tensors["copy"].dtype == np.int64


def test_rows_of_several_inputs_stay_together() -> None:
    request = prepared(TWO, {"copy": [1, 2], "model/grid.1": [GRID, [[0, 0], [0, 0]]]})
    assert request.rows == 2
    assert request.tensors["model/grid.1"].shape == (2, 2, 2)
    assert request.tensors["copy"].tolist() == [1, 2]


@pytest.mark.parametrize(("copy", "grid"), [([1, 2], [GRID]), ([1], GRID), (1, [GRID])])
def test_inputs_of_different_rows_are_refused(copy: object, grid: object) -> None:
    error = refusal(TWO, {"copy": copy, "model/grid.1": grid})
    assert type(error) is Unprocessable
    assert "the same number of rows" in str(error)


def test_more_rows_than_the_limit_are_too_large() -> None:
    rows = MAX_ROWS + 1
    for task, inputs in (
        (ONE, [ROW] * rows),
        (ONE, {"input": [ROW] * rows}),
        (TWO, {"copy": [1] * rows, "model/grid.1": [GRID] * rows}),
    ):
        error = refusal(task, inputs)
        assert type(error) is TooLarge
        assert error.what == f"inputs: more than {MAX_ROWS} rows"
        assert "limits.max_rows" in error.hint


@pytest.mark.row(77, 79)
@pytest.mark.parametrize(
    "inputs",
    [
        [], [[]], [[], []], ROW[:3], [*ROW, 1], [ROW, ROW[:3]], [ROW, [*ROW, 1]], [ROW, 1],
        [1, ROW], [[ROW]], 1, None, True, "PASSWORD", [1, 2, 3, "PASSWORD"], [1, 2, 3, "4"],
        [1, 2, 3, True], [False] * 4, [None] * 4, [1, 2, 3, None], [1, 2, 3, {}], [1, 2, 3, [4]],
        {"input": {"PASSWORD": 1}}, {"input": None}, {"input": [1, 2, 3, True]},
        [1, 2, 3, 10**400], [1, 2, 3, 3.5e38], [1, 2, 3, math.nan], [1, 2, 3, -math.inf],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_the_input_s_shape_of_numbers_is_unprocessable(inputs: object) -> None:
    error = refusal(ONE, inputs)
    assert type(error) is Unprocessable
    assert str(error) == "input: send float32 numbers of shape [4] or [rows, 4]"


def test_the_input_at_fault_is_named() -> None:
    wrong_grid = refusal(TWO, {"copy": 1, "model/grid.1": [[1, 2], [3]]})
    assert str(wrong_grid) == ("model/grid.1: send uint8 numbers of shape [2, 2] or [rows, 2, 2]")
    wrong_copy = refusal(TWO, {"copy": 1.5, "model/grid.1": GRID})
    assert str(wrong_copy) == "copy: send int64 numbers of shape [] or [rows]"


@pytest.mark.row(77)
@pytest.mark.parametrize(
    ("task", "inputs"),
    [
        (ONE, {}),
        (ONE, {"PASSWORD": ROW}),
        (ONE, {"input": ROW, "PASSWORD": ROW}),
        (ONE, {"tensor_0": ROW}),
        (TWO, {}),
        (TWO, {"copy": 1}),
        (TWO, {"copy": 1, "model/grid.1": GRID, "PASSWORD": 1}),
    ],
)
def test_inputs_that_are_missing_or_unknown_are_refused(task: Task, inputs: object) -> None:
    error = refusal(task, inputs)
    names = "input" if task is ONE else "model/grid.1, copy"
    assert type(error) is Unprocessable
    assert str(error) == f"inputs: give each of the model's inputs and no other: {names}"


@pytest.mark.parametrize("inputs", [GRID, 1, None, "PASSWORD"])
def test_several_inputs_need_their_names(inputs: object) -> None:
    error = refusal(TWO, inputs)
    assert type(error) is Unprocessable
    assert str(error) == "inputs: send an object with the model's inputs: model/grid.1, copy"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "inputs: field required"),
        (b'{"inputs": [1, 2, 3, 4], "input": 1}', "unknown field; allowed: inputs"),
    ],
)
def test_a_body_of_other_fields_is_unprocessable(body: bytes, said: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        ONE.read_json(body)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "body", [b"", b"[1, 2, 3, 4]", b'{"inputs": [1, 2, 3, 4}', b'{"inputs": [1, 2, 3, 04]}']
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        ONE.read_json(body)
    assert type(caught.value) is RequestError


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_an_integer_must_fit_its_dtype(dtype: str) -> None:
    task, limits = task_for_dtype(dtype), np.iinfo(dtype)
    for value in (int(limits.min), 0, int(limits.max)):
        array = prepared(task, [value]).tensors["input"]
        assert array.dtype == dtype
        assert array.tolist() == [[value]]
    for value in (int(limits.min) - 1, int(limits.max) + 1, 1.0, 0.5, True):
        assert type(refusal(task, [value])) is Unprocessable


@pytest.mark.row(81)
@pytest.mark.parametrize(("dtype", "bounds"), [("int64", (0, 9)), ("int32", (0, 9))])
def test_an_id_must_be_in_the_vocabulary(dtype: str, bounds: tuple[int, int]) -> None:
    ids = tensor("ids", dtype, 2).model_copy(update={"bounds": bounds})
    task = task_of(numbers(inputs=(ids,)))
    assert prepared(task, [0, 9]).tensors["ids"].tolist() == [[0, 9]]
    for wrong in (-1, 10):
        error = refusal(task, [0, wrong])
        assert type(error) is Unprocessable
        assert str(error) == f"ids: send {dtype} numbers from 0 to 9 of shape [2] or [rows, 2]"


def test_the_example_lies_within_the_bounds() -> None:
    ids = tensor("ids", "int64", 2).model_copy(update={"bounds": (5, 9)})
    task = task_of(numbers(inputs=(ids,)))
    assert task.example() == {"inputs": {"ids": [5, 5]}}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_float_must_fit_its_dtype(dtype: str) -> None:
    task, most = task_for_dtype(dtype), float(np.finfo(dtype).max)
    for value in (-most, -0.5, 3, most):
        array = prepared(task, [value]).tensors["input"]
        assert array.dtype == dtype
        assert array.tolist() == [[value]]
    for value in (most * 1.01, -most * 1.01, True):
        assert type(refusal(task, [value])) is Unprocessable


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from([ONE, TWO]))
def test_no_refusal_echoes_its_input(value: Any, task: Task) -> None:
    error = refusal(task, {"input": value, "secret_key": {"PASSWORD": value}})
    assert "PASSWORD" not in str(error)
    assert "secret_key" not in str(error)


@given(st.lists(JSON_VALUES | st.just(ROW) | st.lists(st.floats(width=32), max_size=5), max_size=5))
def test_whatever_is_taken_is_whole_rows_of_finite_numbers(value: Any) -> None:
    with contextlib.suppress(TooLarge, Unprocessable):
        request = prepared(ONE, value)
        array = request.tensors["input"]
        assert array.shape == (request.rows, 4)
        assert request.rows <= MAX_ROWS
        assert np.isfinite(array).all()


@pytest.mark.parametrize("wrong", [b'"a"', b"[1]", b"[1, 2, 3]"])
def test_as_many_wrong_values_as_are_read_are_refused_quickly(wrong: bytes) -> None:
    most = ONE.bounds.max_bytes
    assert most is not None
    body = b'{"inputs": [' + b",".join([wrong] * (most // (len(wrong) + 1) - 20)) + b"]}"
    # As in a worker: what other tests left behind is not looked at by the collector meanwhile.
    gc.freeze()
    begun_s = time.thread_time()
    with pytest.raises(Unprocessable):
        ONE.read_json(body)
    took_s = time.thread_time() - begun_s
    gc.unfreeze()
    assert took_s < 0.1
    with pytest.raises(TooLarge, match="the JSON is larger than"):
        ONE.read_json(body.ljust(most + 1))


def test_numbers_come_as_json_alone_and_stay_on_the_event_loop() -> None:
    assert TensorTask.media_types == ()
    assert not TensorTask.decodes_off_loop
    with pytest.raises(UnsupportedMedia):
        ONE.read_raw(b"\0\0\0\0", {})


def test_a_tensor_task_needs_a_manifest_of_its_own() -> None:
    with pytest.raises(ValueError, match="task tensor"):
        TensorTask(detector(), LIMITS)
