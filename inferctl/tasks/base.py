"""What every task can do, and how a request's JSON is read."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from inferctl.refusals import (
    EmptyText,
    NonFiniteOutput,
    RequestError,
    TooLarge,
    Unprocessable,
    UnsupportedMedia,
)
from inferctl.tasks.bounds import VALUES, Bounds

Array = npt.NDArray[Any]
Answer = dict[str, Any]
# A request's body; whoever received it piece by piece has it in a bytearray.
Body = bytes | bytearray

JSON = "application/json"


class Request(BaseModel):
    """A request body. Unknown fields are refused.

    They are collected and then refused, because `extra="forbid"` builds an error for each of
    them: half a million unknown keys would cost seconds.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="allow", json_schema_extra={"additionalProperties": False}
    )

    @model_validator(mode="after")
    def _refuse_unknown_fields(self) -> Self:
        if self.__pydantic_extra__:
            fields = type(self).model_fields.items()
            allowed = listed(field.alias or name for name, field in fields)
            raise ValueError(f"unknown field; allowed: {allowed}")
        return self


class Timed(BaseModel):
    """What every answer carries besides the prediction."""

    inference_ms: float = Field(ge=0, description="the model's run, shared by the whole batch")
    latency_ms: float = Field(ge=0, description="from the request's headers to its answer")
    model: str
    version: int


class Many(list[Any]):
    """Items that came in one body, each to be answered on its own."""


class Prepared(NamedTuple):
    """A request ready to run: its tensors by name, each [rows, *row] and of one number of rows.

    `tokens` is the length of its single row, 1 for tasks without a `tokens` axis; `context` is
    what `postprocess` needs to know of the request. `shape` says for the log what was decoded:
    `640x480`, `17 tokens`. A tuple is the cheapest thing to make that nobody changes.
    """

    tensors: dict[str, Array]
    tokens: int
    context: Any
    rows: int = 1
    shape: bytes = b""


ITEMS = b'"items"'
# What a problem with a field is called; any other is Unprocessable.
REFUSALS: dict[str, type[RequestError]] = {
    "string_too_long": TooLarge,
    "too_long": TooLarge,
    "string_too_short": EmptyText,
}
# Names that are shown of a model's: it may have hundreds.
MAX_LISTED_CHARS = 200

RequestT = TypeVar("RequestT", bound=Request)


class Task(ABC):
    """One model's task. `preprocess` may run in a thread; it touches nothing but its arguments."""

    # Content types of raw bodies, besides JSON.
    media_types: ClassVar[tuple[str, ...]]
    # Whether `preprocess` is long enough to leave the event loop.
    decodes_off_loop: ClassVar[bool]

    # Options of a raw body, in the query; in JSON they are fields of the request.
    options: ClassVar[type[Request] | None] = None

    request: type[Request]
    # Many of them in one body.
    items_request: type[Request]
    answer: type[BaseModel]
    labels: tuple[str, ...]
    schema_name: str
    bounds: Bounds
    # What is counted of JSON before it is parsed.
    counted: ClassVar[bytes] = VALUES

    def guard(self, body: Body) -> None:
        """Refuse JSON that is more than any request needs. Raises TooLarge or Unprocessable."""
        self.bounds.check(body, self.counted)

    @abstractmethod
    def read_json(self, body: Body) -> Any:
        """The item of a JSON body, or Many. Raises RequestError, Unprocessable or TooLarge."""

    def _read_items(self, body: Body) -> Many:
        """The items of a body that is no single request. Raises as `read_json`."""
        request: Any = parse_json(self.items_request, body)
        return Many(map(self.item, request.items))

    @abstractmethod
    def item(self, request: Any) -> Any:
        """The item of a `request`."""

    @abstractmethod
    def read_raw(self, body: Body, query: Mapping[str, str]) -> Any:
        """Take a raw body, its options from the query string. Raises as `read_json`."""

    def element(self, data: Body | str) -> Any:
        """The item of an encoded image or a text alone, with the usual options.

        Bytes are as they are; a string is JSON's: base64 for what is no text.
        Raises as `read_json`; UnsupportedMedia where neither is taken.
        """
        raise UnsupportedMedia("neither images nor texts are taken", hint="send numbers")

    @abstractmethod
    def preprocess(self, item: Any) -> Prepared:
        """Tensors of what was read, each [rows, *row]. Raises RequestError and below."""

    @abstractmethod
    def postprocess(self, context: Any, outputs: Mapping[str, Array]) -> Answer:
        """The answer's prediction from the request's outputs, each [rows, *row].

        The arrays are only valid until it returns. Raises RowFailed.
        """

    @abstractmethod
    def example(self) -> dict[str, Any]:
        """A small valid request body, for /models and the API documentation."""


def parse_json(model: type[RequestT], body: Body) -> RequestT:
    """Decode a JSON body straight into a typed request; reports the first problem only."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise first_problem(model, error) from None


def items_request(schema_name: str, request: type[Request], max_items: int) -> type[Request]:
    """The schema of `{"items": [...]}` with one to `max_items` requests."""
    # It stops at its first problem: collecting thousands would cost seconds.
    items: Any = Field(min_length=1, max_length=max_items, fail_fast=True)
    return create_model(f"{schema_name}Items", __base__=Request, items=(list[request], items))  # type: ignore[valid-type] # a class made at run time


def parse_query(model: type[RequestT], query: Mapping[str, str]) -> RequestT:
    """Decode the options of a raw body from its query string."""
    try:
        return model.model_validate(dict(query), strict=False)
    except ValidationError as error:
        raise first_problem(model, error) from None


def first_problem(model: type[Request], error: ValidationError) -> RequestError:
    """One sentence about the first problem, which names our fields and never the input."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # A place inside a list is its number, and then a field of ours again.
    field, *inside = first["loc"][:3] or ("",)
    if first["type"] == "json_invalid":
        return RequestError("the body is not valid JSON", hint="send one JSON object")
    if first["type"] == "model_type" and not first["loc"]:
        return RequestError("the body is not a JSON object")
    if field not in model.model_fields:
        return Unprocessable(first["msg"].removeprefix("Value error, "))
    place = ".".join(map(str, (field, *inside)))
    text = f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return REFUSALS.get(first["type"], Unprocessable)(text)


def listed(names: Iterable[str]) -> str:
    """Names of ours in a refusal, and no more of them than anybody reads."""
    text = ", ".join(names)
    return text if len(text) <= MAX_LISTED_CHARS else f"{text[:MAX_LISTED_CHARS]}..."


MAX_ENUMERATED_LABELS = 100


def label_type(labels: tuple[str, ...]) -> Any:
    """The type of a label in the schema: an enumeration, or a plain string for long lists."""
    return Literal[labels] if len(labels) <= MAX_ENUMERATED_LABELS else str


def schema_name(model: str) -> str:
    """The model's name as a prefix of schema names: `my-model.v2` becomes `MyModelV2`."""
    return "".join(word.capitalize() for word in re.split(r"[._-]", model))


def rounded(value: float | np.floating[Any], digits: int = 4) -> float:
    """A float for people: scores to 4 digits, pixels to 2. JSON has no NaN and no infinity.

    Raises NonFiniteOutput.
    """
    if not math.isfinite(value):
        raise NonFiniteOutput("the model's output is not a finite number")
    return round(float(value), digits)
