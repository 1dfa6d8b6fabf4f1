"""tensor: named arrays of numbers in, named arrays of numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, Tag, ValidationError, create_model

from inferctl.bundles.manifest import Manifest, Tensor
from inferctl.refusals import (
    NonFiniteOutput,
    RequestError,
    TooLarge,
    Unprocessable,
    UnsupportedMedia,
)
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import (
    ITEMS,
    JSON,
    Answer,
    Array,
    Body,
    Prepared,
    Request,
    Task,
    Timed,
    first_problem,
    items_request,
    listed,
    schema_name,
)
from inferctl.tasks.bounds import FEW_BYTES, NAMES, NUMBER_CHARS, SLACK_BYTES, SLACK_NAMES, Bounds

# Names the branch of the union in the place of an error: only there is a list too many rows.
ROWS = "rows"
ROWS_OF_NUMBERS = 2
FEW_NUMBERS = 64


class TensorTask(Task):
    """Nested lists in, rows [rows, *row] of the manifest's shapes and dtypes; its outputs back.

    An input is one row or a list of rows, and the outputs have a rows axis where the inputs had.
    """

    media_types: ClassVar[tuple[str, ...]] = ()
    # Two microseconds for four numbers: less than a thread costs.
    decodes_off_loop: ClassVar[bool] = False
    # Of numbers there are as many as there are.
    counted: ClassVar[bytes] = NAMES

    def __init__(self, manifest: Manifest, limits: LimitsSettings) -> None:
        if manifest.task != "tensor":
            raise ValueError("a tensor task needs a manifest of task tensor")
        self._max_rows = limits.max_rows
        self._inputs = manifest.inputs
        self._outputs = tuple((t.name, t.dtype.startswith("float")) for t in manifest.outputs)
        self.labels = manifest.labels
        self.schema_name = schema_name(manifest.name)
        # The fields are numbered: a tensor may have a name that Python or pydantic would not take.
        self._plan = tuple(
            (tensor.name, np.dtype(tensor.dtype), len(tensor.shape), f"tensor_{place}")
            for place, tensor in enumerate(manifest.inputs)
        )
        self._named = self._model("Inputs", Request, manifest.inputs, self._input_type)
        self.request = self._request_model()
        self._validate_json = self.request.__pydantic_validator__.validate_json
        self.items_request = items_request(self.schema_name, self.request, self._max_rows)
        self.bounds = tensor_bounds(manifest, limits)
        self.answer = self._answer_model(manifest.outputs)

    def _model(
        self,
        suffix: str,
        base: type[BaseModel],
        tensors: Sequence[Tensor],
        type_of: Callable[[Tensor], Any],
    ) -> type[BaseModel]:
        """A schema with one field a tensor."""
        fields: dict[str, Any] = {
            f"tensor_{place}": (type_of(tensor), Field(alias=tensor.name))
            for place, tensor in enumerate(tensors)
        }
        return create_model(f"{self.schema_name}{suffix}", __base__=base, **fields)

    def _request_model(self) -> type[Request]:
        inputs: Any = self._named
        if len(self._inputs) == 1:
            inputs = _first_of(self._input_type(self._inputs[0]), self._named)
        return create_model(f"{self.schema_name}Request", __base__=Request, inputs=(inputs, ...))

    def _answer_model(self, outputs: Sequence[Tensor]) -> type[BaseModel]:
        named = self._model("Outputs", BaseModel, outputs, _output_type)
        return create_model(f"{self.schema_name}Answer", __base__=Timed, outputs=(named, ...))

    def _input_type(self, tensor: Tensor) -> Any:
        row = _lists(_number(tensor), tensor.row_shape(1))
        return _first_of(row, _rows(row, self._max_rows))

    def read_json(self, body: Body) -> Any:
        """Parse `{"inputs": {name: nested list}}`; of a single input its list alone will do.

        Returns the values: by field when they are named, else the single input's own.
        Raises RequestError, Unprocessable, or TooLarge for more than `limits.max_rows`.
        """
        if len(body) > FEW_BYTES:
            self.guard(body)
        try:
            request: Any = self._validate_json(body)
        except ValidationError as error:
            if ITEMS not in body:
                raise self._refusal(error) from None
            return self._read_items(body)
        return request.inputs

    def item(self, request: Any) -> Any:
        """The inputs, as `read_json` gives them."""
        return request.inputs

    def read_raw(self, body: Body, query: Mapping[str, str]) -> Any:
        """There are no raw bodies. Raises UnsupportedMedia."""
        raise UnsupportedMedia("this content type is not taken", hint=f"use {JSON}")

    def _refusal(self, error: ValidationError) -> RequestError:
        """One sentence that names the input and never echoes what was sent."""
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        kinds = {problem["type"] for problem in problems}
        place = problems[0]["loc"]
        if place[:1] != ("inputs",) or (place == ("inputs",) and "missing" in kinds):
            return first_problem(self.request, error)
        names = listed(tensor.name for tensor in self._inputs)
        if kinds & {"missing", "value_error"}:
            return Unprocessable(f"inputs: give each of the model's inputs and no other: {names}")
        for problem in problems:
            if problem["type"] == "too_long" and problem["loc"][-1] == ROWS:
                return TooLarge(
                    f"inputs: more than {self._max_rows} rows",
                    hint="send them in parts, or raise limits.max_rows",
                )
        for tensor in self._inputs:
            if len(self._inputs) == 1 or tensor.name in place[1:2]:
                return Unprocessable(_wanted(tensor))
        return Unprocessable(f"inputs: send an object with the model's inputs: {names}")

    def preprocess(self, item: Any) -> Prepared:
        """The inputs as arrays [rows, *row]. Raises Unprocessable when their rows differ."""
        named = isinstance(item, self._named)
        tensors: dict[str, Array] = {}
        forms: list[tuple[bool, int]] = []
        for name, dtype, dims, field in self._plan:
            array = np.array(getattr(item, field) if named else item, dtype)
            has_rows = array.ndim == dims
            tensors[name] = array if has_rows else array[None]
            forms.append((has_rows, len(array) if has_rows else 1))
        has_rows, rows = form = forms[0]
        if len(forms) > 1 and forms.count(form) < len(forms):
            raise Unprocessable("inputs: all of them need the same number of rows, or none an axis")
        return Prepared(tensors, 1, has_rows, rows)

    def postprocess(self, context: bool, outputs: Mapping[str, Array]) -> Answer:
        """Every output as nested lists; `context` is whether the request had a rows axis.

        Raises NonFiniteOutput for a value that JSON does not have.
        """
        answer = {}
        for name, is_float in self._outputs:
            array = outputs[name]
            values = array.tolist()
            if is_float and not _is_finite(array, values):
                raise NonFiniteOutput("the model's output for these inputs is not a finite number")
            answer[name] = values if context else values[0]
        return {"outputs": answer}

    def example(self) -> dict[str, Any]:
        """One row of zeros, or of what is nearest to it."""
        rows = {}
        for tensor in self._inputs:
            low, high = limits_of(tensor)
            nearest = min(max(0, low), high)
            rows[tensor.name] = np.full(tensor.row_shape(1), nearest, tensor.dtype).tolist()
        return {"inputs": rows}


def tensor_bounds(manifest: Manifest, limits: LimitsSettings) -> Bounds:
    """Of requests that send a graph's tensors."""
    row = sum(prod(tensor.row_shape(manifest.max_tokens)) for tensor in manifest.inputs)
    return Bounds(
        SLACK_BYTES + limits.max_rows * row * NUMBER_CHARS,
        (limits.max_rows + 1) * (len(manifest.inputs) + 1) + SLACK_NAMES,
    )


def _is_finite(array: Array, values: list[Any]) -> bool:
    """Whether all of an array is; `values` are the same as lists."""
    if array.ndim == ROWS_OF_NUMBERS and array.size <= FEW_NUMBERS:
        # What float32 holds has a finite sum in Python's floats, and numpy takes longer for a few.
        return math.isfinite(sum(map(sum, values)))
    return bool(np.isfinite(array).all())


def limits_of(tensor: Tensor) -> tuple[float, float]:
    """The least and the largest number that an input takes."""
    if tensor.dtype.startswith("float"):
        most = float(np.finfo(tensor.dtype).max)
        return -most, most
    kind = np.iinfo(tensor.dtype)
    low, high = tensor.bounds or (kind.min, kind.max)
    return max(int(kind.min), low), min(int(kind.max), high)


def _number(tensor: Tensor) -> Any:
    """A number that an input takes, as a type; bounds also refuse NaN and infinity."""
    low, high = limits_of(tensor)
    kind: Any = float if tensor.dtype.startswith("float") else int
    return Annotated[kind, Field(ge=low, le=high)]


def _lists(item: Any, shape: Sequence[int]) -> Any:
    """Nested lists of exactly this shape, as a type."""
    for length in reversed(shape):
        item = Annotated[list[item], _length(length, length)]
    return item


def _rows(row: Any, most: int | None) -> Any:
    """One to `most` rows, as a type."""
    return Annotated[list[row], _length(1, most), Tag(ROWS)]


def _length(least: int, most: int | None) -> Any:
    """A list's length. It stops at its first problem: collecting millions would cost seconds."""
    return Field(min_length=least, max_length=most, fail_fast=True)


def _first_of(first: Any, second: Any) -> Any:
    """The first type that fits, in place of pydantic's search for the better one."""
    return Annotated[first | second, Field(union_mode="left_to_right")]


def _output_type(tensor: Tensor) -> Any:
    row = _lists(float if tensor.dtype.startswith("float") else int, tensor.row_shape(1))
    return _first_of(row, _rows(row, None))


def _wanted(tensor: Tensor) -> str:
    """What an input has to be, as a refusal."""
    dims = [str(dim) for dim in tensor.shape[1:]]
    row, rows = (f"[{', '.join(shape)}]" for shape in (dims, ["rows", *dims]))
    limits = "" if tensor.bounds is None else " from {} to {}".format(*tensor.bounds)
    return f"{tensor.name}: send {tensor.dtype} numbers{limits} of shape {row} or {rows}"
