"""How a request's JSON and query are read, and what a refusal says."""

from __future__ import annotations

import json
import math
import time
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, create_model

from inferctl.refusals import EmptyText, RequestError, RowFailed, TooLarge, Unprocessable
from inferctl.tasks.base import (
    MAX_ENUMERATED_LABELS,
    MAX_LISTED_CHARS,
    Request,
    label_type,
    listed,
    parse_json,
    parse_query,
    rounded,
    schema_name,
)

LONGEST_REFUSAL = 512


class Order(Request):
    """A request of the usual kinds of field."""

    text: str = Field(max_length=5)
    threshold: float = Field(default=0.5, ge=0, le=1)
    top_k: int = Field(default=5, ge=1, le=9)


class Said(Request):
    """A text that is none without characters."""

    text: str = Field(min_length=1)


class Options(Request):
    """Options of a raw body."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    top_k: int = Field(default=5, ge=1, le=9)


def refusal(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_json(Order, body)
    assert len(str(caught.value)) <= LONGEST_REFUSAL
    return caught.value


def test_fields_that_are_not_given_take_their_defaults() -> None:
    assert parse_json(Order, b'{"text": "hi"}') == Order(text="hi", threshold=0.5, top_k=5)
    assert parse_json(Order, b'{"text": "hi", "threshold": 1, "top_k": 9}').threshold == 1.0


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nope", b"{}x", b'{"text": "a\nb"}', b"\xff", b'{"text": "\xff"}',
        b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\xc0\xaf", b'{"text": "\\ud800"}',
        b'{"text": "\\udc00\\ud800"}', b'{"text": "a", "top_k": ' + b"9" * 5000 + b"}",
        b'{"text": ' + b"[" * 1000 + b"]" * 1000 + b"}", b'{"x":' * 100_000, b"[" * 100_000,
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    begun_s = time.process_time()
    error = refusal(body)
    assert type(error) is RequestError
    assert error.what == "the body is not valid JSON"
    assert time.process_time() - begun_s < 0.05


@pytest.mark.parametrize("body", [b"[1]", b"null", b'"text"', b"1", b"true"])
def test_json_that_is_not_an_object_is_malformed(body: bytes) -> None:
    error = refusal(body)
    assert type(error) is RequestError
    assert error.what == "the body is not a JSON object"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("", "text: field required"),
        ('"text": 1', "text: input should be a valid string"),
        ('"text": null', "text: input should be a valid string"),
        ('"text": ["a"]', "text: input should be a valid string"),
        ('"text": "a", "threshold": "0.5"', "threshold: input should be a valid number"),
        ('"text": "a", "threshold": true', "threshold: input should be a valid number"),
        ('"text": "a", "threshold": -0.1', "threshold: input should be greater than or equal to 0"),
        ('"text": "a", "threshold": 1.01', "threshold: input should be less than or equal to 1"),
        ('"text": "a", "threshold": NaN', "threshold: input should be less than or equal to 1"),
        (
            '"text": "a", "threshold": -Infinity',
            "threshold: input should be greater than or equal to 0",
        ),
        ('"text": "a", "threshold": 1e999', "threshold: input should be less than or equal to 1"),
        ('"text": "a", "top_k": 1.5', "top_k: input should be a valid integer"),
        ('"text": "a", "top_k": 0', "top_k: input should be greater than or equal to 1"),
        ('"text": "a", "colour": 1', "unknown field; allowed: text, threshold, top_k"),
        ('"text": "a", "model_config": {}', "unknown field; allowed: text, threshold, top_k"),
        ('"text": "a", "0": 1', "unknown field; allowed: text, threshold, top_k"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields: str, said: str) -> None:
    error = refusal(f"{{{fields}}}".encode())
    assert type(error) is Unprocessable
    assert str(error) == said


def test_a_text_over_its_limit_is_too_large() -> None:
    assert parse_json(Order, b'{"text": "12345"}').text == "12345"
    error = refusal(b'{"text": "123456"}')
    assert type(error) is TooLarge
    assert str(error) == "text: string should have at most 5 characters"


def test_a_text_without_characters_has_a_code_of_its_own() -> None:
    assert parse_json(Said, b'{"text": "a"}').text == "a"
    with pytest.raises(EmptyText, match="text: string should have at least 1 character"):
        parse_json(Said, b'{"text": ""}')


def test_a_thousand_unknown_keys_are_one_refusal() -> None:
    keys = ",".join(f'"k{number}":1' for number in range(1000))
    error = refusal(f'{{"text": "a", {keys}}}'.encode())
    assert str(error) == "unknown field; allowed: text, threshold, top_k"


def test_only_the_first_of_many_names_are_listed() -> None:
    assert listed(["a", "b"]) == "a, b"
    text = listed(f"output_{number}" for number in range(1000))
    assert text.startswith("output_0, output_1, ")
    assert text.endswith("...")
    assert len(text) <= MAX_LISTED_CHARS + 3


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(JSON_VALUES, st.sampled_from(["text", "threshold", "top_k", "secret_key"]))
def test_no_refusal_echoes_its_input(value: Any, field: str) -> None:
    content = {"text": "a", field: {"PASSWORD": value}}
    text = str(refusal(json.dumps(content).encode()))
    assert "PASSWORD" not in text
    assert "secret_key" not in text
    assert "Order" not in text


def test_options_of_a_raw_body_are_read_from_text() -> None:
    assert parse_query(Options, {"threshold": "0.25", "top_k": "2"}) == Options(
        threshold=0.25, top_k=2
    )


@pytest.mark.parametrize(
    "query",
    [
        {"threshold": "nan"}, {"threshold": "inf"}, {"threshold": ""}, {"threshold": "high"},
        {"threshold": "1.1"}, {"top_k": "0"}, {"top_k": "1.5"}, {"text": "a"}, {"": ""},
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_unprocessable(query: dict[str, str]) -> None:
    with pytest.raises(Unprocessable) as caught:
        parse_query(Options, query)
    assert len(str(caught.value)) <= LONGEST_REFUSAL
    assert "high" not in str(caught.value)


def test_the_schema_forbids_what_the_parser_refuses() -> None:
    assert Order.model_json_schema()["additionalProperties"] is False
    derived = create_model("Derived", __base__=Options, image_b64=(str, ...))
    assert derived.model_json_schema()["additionalProperties"] is False


def test_a_field_with_another_name_in_json_is_allowed_by_that_name() -> None:
    renamed = create_model("Renamed", __base__=Request, field_0=(int, Field(alias="a.b")))
    assert parse_json(renamed, b'{"a.b": 1}').model_dump() == {"field_0": 1}
    with pytest.raises(Unprocessable, match=r"^unknown field; allowed: a\.b$"):
        parse_json(renamed, b'{"a.b": 1, "field_0": 1}')


def test_a_few_labels_are_enumerated_and_many_are_strings() -> None:
    few = tuple(f"l{number}" for number in range(MAX_ENUMERATED_LABELS))
    assert label_type(few) == Literal[few]
    assert get_args(label_type(few)) == few
    assert label_type((*few, "one more")) is str


@pytest.mark.parametrize(
    ("model", "name"),
    [("shapes", "Shapes"), ("my-model.v2", "MyModelV2"), ("a_b--c", "ABC"), ("4k", "4k")],
)
def test_a_model_s_name_becomes_a_schema_s_name(model: str, name: str) -> None:
    assert schema_name(model) == name


def test_numbers_are_rounded_for_people() -> None:
    assert rounded(0.123456) == 0.1235
    assert rounded(12.3456, 2) == 12.35


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_fails_the_row(value: float) -> None:
    with pytest.raises(RowFailed):
        rounded(value)
