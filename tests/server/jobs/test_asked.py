"""What a submission asks for, and why it is refused."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from inferctl.refusals import RequestError, TooLarge, Unprocessable
from inferctl.server.jobs import asked
from inferctl.server.jobs.asked import (
    LINES,
    Asked,
    asked_in_json,
    asked_in_lines,
    asked_in_one,
    chosen_by,
    idempotency_key_of,
    prefers_async,
)
from inferctl.tasks.base import JSON, Task
from inferctl.tasks.bounds import FEW_BYTES
from tests.tasks.tinybundles import detector, numbers, reader, task_of, write_tokenizer

TEXT = {"text": "good"}
SECRET = "s3cret"
# More numbers than the rows of any request have.
MANY = orjson.dumps({"inputs": [0] * 100_000})


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("texts")
    write_tokenizer(folder, "good")
    return task_of(reader(), folder)


def in_json(content: Any, max_items: int = 10) -> Asked:
    return asked_in_json(orjson.dumps(content), max_items)


def in_lines(body: bytes, task: Task, max_items: int = 10) -> Asked:
    return asked_in_lines(body, Asked("mood", "", LINES), task, max_items)


def test_one_item_is_written_as_a_predict_request() -> None:
    one = in_json({"item": {"text": "gööd", "n": 0.25}, "model": "mood", "version": 3})
    assert one == Asked("mood", "3", JSON, ['{"text":"gööd","n":0.25}'.encode()])


def test_several_items_keep_their_order() -> None:
    several = in_json({"model": "mood", "version": "latest", "items": [{"a": 1}, {}, {"b": []}]})
    assert several.items == [b'{"a":1}', b"{}", b'{"b":[]}']
    assert (several.is_bulk, several.version) == (True, "latest")
    assert in_json({"items": [TEXT]}).is_bulk
    assert in_json({"item": TEXT, "version": None}).version == ""


@pytest.mark.parametrize(
    ("content", "kind", "what"),
    [
        ([], RequestError, "not a JSON object"),
        ({}, Unprocessable, "either item or items"),
        ({"item": TEXT, "items": [TEXT]}, Unprocessable, "either item or items"),
        ({"item": TEXT, SECRET: 1}, Unprocessable, "allowed: model, version, item, items"),
        ({"item": TEXT, "model": None}, Unprocessable, "model: should be a string"),
        ({"item": TEXT, "model": 1}, Unprocessable, "model: should be a string"),
        ({"item": TEXT, "version": True}, Unprocessable, "version: should be a string"),
        ({"item": TEXT, "version": 1.5}, Unprocessable, "version: should be a string"),
        ({"item": SECRET}, Unprocessable, "item: not a JSON object"),
        ({"item": {"items": []}}, Unprocessable, "item: it has items itself"),
        ({"items": {}}, Unprocessable, "items: not a list"),
        ({"items": []}, Unprocessable, "no item"),
        ({"items": [TEXT, [SECRET]]}, Unprocessable, r"items\[1\]: not a JSON object"),
        ({"items": [TEXT, {"items": [TEXT]}]}, Unprocessable, r"items\[1\]: it has items itself"),
        ({"items": [TEXT] * 11}, TooLarge, "more than 10 items"),
    ],
)
def test_json_that_asks_for_nothing_says_why(
    content: Any, kind: type[RequestError], what: str
) -> None:
    with pytest.raises(kind, match=what) as caught:
        in_json(content)
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"item":NaN}', b"[" * 5000, b"\xff", b"{}{}"])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(RequestError, match="not valid JSON"):
        asked_in_json(body, 10)


def test_more_values_than_memory_is_for_are_refused_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asked, "MAX_VALUES", 100)
    monkeypatch.setattr(asked, "MAX_PARTS", 50)
    for inputs, what in (
        ([1] * 102, "100 values"),
        ([{"a": 1, "b": 2}] * 30, "50 names"),
        ([{}] * 50, "50 objects"),
        ([[]] * 50, "50 lists"),
    ):
        with pytest.raises(TooLarge, match=f"more than {what}"):
            in_json({"item": {"inputs": inputs}})
    with pytest.raises(RequestError, match="not valid JSON"):  # before all of it is counted
        asked_in_json(b'""' * 9 + b"," * 200, 10)
    # A text has as many as it wants, and there may be many texts.
    assert in_json({"item": {"text": '\\":,[{' * 1000, "texts": ["[,{"] * 90}}).items


def test_each_line_is_an_item_and_stays_as_it_is(texts: Task) -> None:
    body = b'{"text": "good"}\r\n\n  {"text":"bad","x":1}  \n{"a":{}}'
    several = in_lines(body, texts)
    assert several.items == [b'{"text": "good"}', b'{"text":"bad","x":1}', b'{"a":{}}']
    assert (several.content_type, several.is_bulk, several.model) == (JSON, True, "mood")
    assert len(in_lines(bytearray(b"{}\n\n \n{}\n\n"), texts, 2).items) == 2


@pytest.mark.parametrize(
    ("body", "kind", "what"),
    [
        (b"", Unprocessable, "no item"),
        (b"\n \n", Unprocessable, "no item"),
        (b'{}\n\n"s3cret"\n', RequestError, "line 3: this is not a JSON object"),
        (b"{}\n{s3cret", RequestError, "line 2: this is not valid JSON"),
        (b'{}\n{"items":[{}]}', Unprocessable, "line 2: it has items itself"),
        (b"{}\n" * 11, TooLarge, "more than 10 items"),
        (b'{"a":[%b]}' % (b"0," * 5000), Unprocessable, "line 1: .* more names or values"),
    ],
)
def test_a_line_that_is_no_item_is_told_by_its_number(
    body: bytes, kind: type[RequestError], what: str, texts: Task
) -> None:
    with pytest.raises(kind, match=what) as caught:
        in_lines(body, texts)
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)


def test_a_line_is_no_larger_than_a_predict_request() -> None:
    task = task_of(numbers())
    assert in_lines(b'{"inputs":[1,2,3,4]}', task).items
    with pytest.raises(TooLarge, match=r"line 1: the JSON is larger than \d+ bytes"):
        in_lines(MANY, task)


def test_a_body_that_is_an_item_may_be_json_with_many_or_raw(texts: Task) -> None:
    many = b'{"items": [{"text": "good"}]}'
    as_json = Asked("mood", "", JSON)
    assert asked_in_one(bytearray(many), as_json, texts).items == [many]
    assert not asked_in_one(many, as_json, texts).is_bulk
    with pytest.raises(RequestError, match="not valid JSON"):
        asked_in_one(b"{", as_json, texts)
    large = b"{" * (FEW_BYTES + 1)
    assert asked_in_one(large, as_json, texts).items == [large]
    with pytest.raises(TooLarge):
        asked_in_one(MANY, as_json, task_of(numbers()))
    as_text = Asked("mood", "", "text/plain")
    assert asked_in_one(b"good", as_text, texts).items == [b"good"]
    with pytest.raises(RequestError, match="not UTF-8"):
        asked_in_one(b"\xff", as_text, texts)


def test_options_of_a_raw_body_are_looked_at_before_it_waits() -> None:
    task = task_of(detector())
    chosen = chosen_by({"model": "shapes", "max_detections": "3"}, "image/png")
    one = asked_in_one(b"png", chosen, task)
    assert one.new_job("", "").query == "max_detections=3"
    for options in ({"max_detections": "0"}, {"unknown": "1"}):
        with pytest.raises(Unprocessable):
            asked_in_one(b"png", chosen_by(options, "image/png"), task)


def test_the_query_chooses_and_of_json_no_more() -> None:
    assert chosen_by({"model": "m", "version": "2"}, LINES) == Asked("m", "2", LINES)
    for content_type in (JSON, LINES):
        with pytest.raises(Unprocessable, match="options go into each item"):
            chosen_by({"model": "m", "top_k": "2"}, content_type)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (b"abc", "abc"),
        (b'"abc"', "abc"),
        (rb'"a\"b\\c"', 'a"b\\c'),
        (b'a"b', 'a"b'),
        (b"~" * 255, "~" * 255),
        (b'"%b"' % (b"~" * 255), "~" * 255),
    ],
)
def test_an_idempotency_key_may_be_in_quotes(given: bytes, key: str) -> None:
    assert idempotency_key_of({b"idempotency-key": given}) == key
    assert idempotency_key_of({}) == ""


@pytest.mark.parametrize(
    "given",
    [b"", b'""', b"a b", b'"a b"', b'"a', b'"', b'"a";p=1', b"\xe4", b"\t", b"~" * 256, b'"a\\"'],
)
def test_what_is_no_idempotency_key_is_malformed(given: bytes) -> None:
    with pytest.raises(RequestError, match="1 to 255 visible"):
        idempotency_key_of({b"idempotency-key": given})


@pytest.mark.parametrize(
    ("values", "prefers"),
    [
        ([b"respond-async"], True),
        ([b"Respond-Async; x=1, wait=5"], True),
        ([b"wait=5 , respond-async"], True),
        ([b"return=minimal", b"respond-async"], True),
        ([b'note="respond-async, respond-async"'], False),
        ([b'note="a\\", respond-async, \\"b"'], False),
        ([b'note="a\\\\", respond-async'], True),
        ([b'respond-async; note="', b"wait=1"], True),
        ([b'note="a, respond-async'], False),
        ([b'note="a, respond-async, \\'], False),
        ([b'note="a, respond-async, \\"'], False),
        ([b"respond-asynchronously"], False),
        ([], False),
    ],
)
def test_a_preference_is_one_of_a_list(values: list[bytes], prefers: bool) -> None:
    assert prefers_async([(b"host", b"here"), *((b"prefer", value) for value in values)]) == prefers
    assert not prefers_async([(b"x-prefer", value) for value in values])


@pytest.mark.parametrize("end", [b"", b"\\", b"x", b'"'])
def test_a_preference_that_has_no_end_takes_no_time(end: bytes) -> None:
    """A megabyte of it would take hours, were each of its quotes the beginning of a string."""
    begun_s = time.process_time()
    assert not prefers_async([(b"prefer", b'x="' + rb"\"" * 500_000 + end)])
    assert time.process_time() - begun_s < 1


def test_a_fingerprint_tells_every_difference() -> None:
    same = {"model": "mood", "version": "1", "content_type": "text/plain", "items": [b"ab", b"c"]}
    others: list[dict[str, Any]] = [
        {},
        {"model": "moo"},
        {"version": ""},
        {"content_type": JSON},
        {"options": {"a": "1"}},
        {"is_bulk": True},
        {"items": [b"a", b"bc"]},
        {"items": [b"abc"]},
        {"items": [b"c", b"ab"]},
    ]
    told = [Asked(**{**same, **other}).fingerprint() for other in others]
    assert len(set(told)) == len(told)
    assert Asked(**same).fingerprint() == told[0]  # type: ignore[arg-type] # as above


def test_a_job_has_an_id_of_its_own_and_a_fingerprint_only_for_its_key() -> None:
    one = Asked("mood", "", JSON, [b"{}"])
    first, second = one.new_job("app", ""), one.new_job("app", "again")
    assert first.id != second.id
    assert (first.fingerprint, second.fingerprint) == (b"", one.fingerprint())
    assert (second.key, second.idempotency_key) == ("app", "again")
