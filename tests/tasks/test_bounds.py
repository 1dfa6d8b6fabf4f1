"""Bodies that hold more than any request are refused before they are parsed; texts may hold all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferctl.refusals import RequestError, TooLarge, Unprocessable
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import Task
from inferctl.tasks.bounds import NAMES, VALUES, Bounds

from .tinybundles import classifier, numbers, reader, task_of, write_tokenizer

MAX_NAMES = 10
BOUNDS = Bounds(10**6, MAX_NAMES)
MANY_NAMES = b",".join(b'"name%d":1' % number for number in range(500_000))


@pytest.fixture(params=["image_b64", "text", "inputs"])
def field(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(field: str, tmp_path: Path) -> Task:
    if field == "text":
        return task_of(reader(), write_tokenizer(tmp_path, "good"))
    return task_of(classifier() if field == "image_b64" else numbers())


def refusal_in_time(task: Task, body: bytes, seconds: float) -> RequestError:
    begun_s = time.thread_time()
    with pytest.raises(RequestError) as caught:
        task.read_json(body)
    assert time.thread_time() - begun_s < seconds
    assert len(str(caught.value)) < 200
    return caught.value


@pytest.mark.row(52)
@pytest.mark.parametrize(
    "form", [b"{%b}", b'{"%a":"x",%b}', b'{"items":[{%b}]}', b'{"items":1,%b}', b'{"%a":{%b}}']
)
def test_half_a_million_names_are_refused_at_once(task: Task, field: str, form: bytes) -> None:
    body = form.replace(b"%a", field.encode()).replace(b"%b", MANY_NAMES)
    error = refusal_in_time(task, body, 0.02)
    assert isinstance(error, TooLarge if field == "inputs" else Unprocessable)


@pytest.mark.row(53)
@pytest.mark.parametrize("value", [b"1", b'"a"', b"[]", b"{}", b'{"":0}'])
def test_two_million_values_in_place_of_one_are_refused_at_once(
    task: Task, field: str, value: bytes
) -> None:
    body = b'{"%b":[%b]}' % (field.encode(), b",".join([value] * 2_000_000))
    refusal_in_time(task, body, 0.01)


@pytest.mark.row(48)
@pytest.mark.parametrize("place", ['"%s":', '"unknown":', '"items":', '"items":[{"%s":'])
@pytest.mark.parametrize("depth", [33, 1000, 100_000])
def test_what_is_nested_is_refused_at_once(task: Task, field: str, place: str, depth: int) -> None:
    start = "{" + place.replace("%s", field)
    for opening in ("[", '{"a":'):
        refusal_in_time(task, (start + opening * depth).encode(), 0.005)
    whole = start + "[" * depth + "]" * depth + "}]" * place.startswith('"items":[') + "}"
    refusal_in_time(task, whole.encode(), 0.005)


def test_a_text_may_hold_what_json_is_made_of(tmp_path: Path) -> None:
    limits = LimitsSettings(max_text_chars=20_000)
    task = task_of(reader(), write_tokenizer(tmp_path, "good"), limits=limits)
    for text in (",:\"\\{}[]'" * 2000, '","' * 5000, "\\" * 9999, '\\"' * 9999):
        assert task.read_json(json.dumps({"text": text}).encode()) == text
        items = task.read_json(json.dumps({"items": [{"text": text}] * 9}).encode())
        assert list(items) == [text] * 9


@pytest.mark.parametrize("separator", [NAMES, VALUES])
def test_separators_count_outside_of_strings(separator: bytes) -> None:
    text = b'"%b\\"%b\\\\"' % (separator * 20, separator * 20)
    BOUNDS.check(text + (separator + text) * MAX_NAMES, separator)
    with pytest.raises(Unprocessable):
        BOUNDS.check(text + (separator + text) * (MAX_NAMES + 1), separator)


def test_a_string_without_an_end_takes_no_longer() -> None:
    begun_s = time.thread_time()
    for body in (b'"' + b'\\"' * 10**5, b'"\\' * 10**5, b'"' + b"," * 10**5, b'\\"' * 10**5):
        BOUNDS.check(body, VALUES)
    assert time.thread_time() - begun_s < 0.2


@pytest.mark.row(53)
@pytest.mark.parametrize("filling", [b'""', b'"":', b'"" ', b'"a"[', b"[]", b'"a":{'])
def test_strings_without_end_behind_one_that_holds_the_separators_are_refused_at_once(
    task: Task, field: str, filling: bytes
) -> None:
    commas = b'"%b"' % (b"," * 10_000 + b":" * 10_000)
    body = b'{"%b":%b,' % (field.encode(), commas) + filling * 500_000
    refusal_in_time(task, body, 0.1)


@given(st.recursive(
    st.none() | st.integers() | st.text(alphabet='",:\\a'),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(alphabet='",:\\a'), inner),
    max_leaves=30,
))  # fmt: skip
def test_what_is_refused_has_too_many(value: object) -> None:
    body = json.dumps(value, separators=(",", ":")).encode()
    counts = {NAMES: names_in(value), VALUES: separated_in(value)}
    for separator, count in counts.items():
        if count > MAX_NAMES:
            with pytest.raises(Unprocessable):
                BOUNDS.check(body, separator)
        else:
            BOUNDS.check(body, separator)


def names_in(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(names_in, value.values()))
    return sum(map(names_in, value)) if isinstance(value, list) else 0


def separated_in(value: object) -> int:
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list):
        return 0
    return max(0, len(parts) - 1) + sum(map(separated_in, parts))
