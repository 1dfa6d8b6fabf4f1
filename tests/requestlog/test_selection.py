"""Which lines are wanted, and that the others cost nothing but a look."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from inferctl.errors import UsageError
from inferctl.requestlog.selection import Selection, Slow, parse_slow, parse_statuses

from .lines import line, numbered


def chosen(selection: Selection, *lines: bytes) -> list[str]:
    return [found.entry["request_id"] for found in selection.of(b"".join(lines))]


ALL = [
    line(request_id="a", model="shapes", status=200, total_ms=99.9),
    line(request_id="b", model="mood", status=429, outcome="overloaded", total_ms=100),
    line(request_id="c", model="mood", status=503, outcome="unavailable", total_ms=1000.5),
    line(request_id="d", model=None, status=500, key_id="ci", trace_id="f" * 32, total_ms=7),
]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, "abcd"),
        ({"members": {"model": "mood"}}, "bc"),
        ({"members": {"outcome": "overloaded"}}, "b"),
        ({"members": {"key_id": "ci"}}, "d"),
        ({"members": {"trace_id": "f" * 32}}, "d"),
        ({"members": {"request_id": "a"}}, "a"),
        ({"members": {"model": "a"}}, ""),
        ({"members": {"model": "mood", "outcome": "overloaded"}}, "b"),
        ({"statuses": [range(500, 600)]}, "cd"),
        ({"statuses": [range(200, 201), range(429, 430)]}, "ab"),
        ({"slow": [Slow("total_ms", 100)]}, "bc"),
        ({"slow": [Slow("total_ms", 0.5)]}, "abcd"),
        ({"slow": [Slow("total_ms", 1000.6)]}, ""),
        ({"slow": [Slow("total_ms", 100), Slow("total_ms", 1000)]}, "c"),
        ({"slow": [Slow("total_ms", 100)], "statuses": [range(429, 600)]}, "bc"),
        ({"statuses": [range(500, 600)], "members": {"model": "mood"}}, "c"),
    ],
)
def test_every_condition_must_hold(conditions: dict[str, Any], expected: str) -> None:
    assert "".join(chosen(Selection(**conditions), *ALL)) == expected
    spaced = [json.dumps(orjson.loads(each)).encode() + b"\n" for each in ALL]
    assert "".join(chosen(Selection(**conditions), *spaced)) == expected, "whoever wrote it"


def test_a_value_that_json_escapes_is_found_too() -> None:
    selection = Selection({"model": 'a "b" é'})
    assert chosen(selection, line(model='a "b" é'), line()) == ["me"]


def test_a_value_is_no_pattern() -> None:
    assert chosen(Selection({"model": "a.c"}), line(model="abc")) == []


def test_the_line_itself_is_kept_without_its_end() -> None:
    assert Selection().of(line() + b'{"last":1}')[0].line + b"\n" == line()
    assert Selection({"model": "shapes"}).of(line())[0].line + b"\n" == line()


def test_what_is_no_json_object_is_passed_over_and_counted() -> None:
    selection = Selection()
    torn = line()[:30]
    assert chosen(selection, b"hello\n", b"[1]\n", numbered(1), b"\xff\n", torn) == ["1"]
    assert selection.unreadable == 4


def test_a_line_that_says_nothing_of_it_is_not_wanted() -> None:
    other = b'{"time":"2026-11-26T21:22:34.341+00:00","dropped_lines":3}\n'
    assert len(Selection().of(other)) == 1
    for conditions in (
        {"slow": [Slow("total_ms", 0)]},
        {"statuses": [range(200, 300)]},
        {"members": {"model": "m"}},
    ):
        assert Selection(**conditions).of(other) == []  # type: ignore[arg-type] # one of each type


@pytest.mark.parametrize(
    ("text", "ms"), [("100ms", 100), ("1.5s", 1500), ("800us", 0.8), ("0ms", 0)]
)
def test_durations_have_units(text: str, ms: float) -> None:
    assert parse_slow(text) == Slow("total_ms", ms)


def test_a_phase_may_be_what_is_slow() -> None:
    assert parse_slow("queue=1.5s") == Slow("queue_ms", 1500)
    lines = [line(request_id=name, queue_ms=ms) for name, ms in zip("ab", (9, 10), strict=True)]
    assert chosen(Selection(slow=[parse_slow("queue=10ms")]), line(), *lines) == ["b"]
    with pytest.raises(UsageError, match="'wait' is no phase"):
        parse_slow("wait=10ms")


@pytest.mark.parametrize("text", ["", "100", "ms", "-1ms", "1 s", "1h", "1.ms"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        parse_slow(text)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("5xx", [range(500, 600)]),
        ("429", [range(429, 430)]),
        ("200-299", [range(200, 300)]),
        ("4XX, 503", [range(400, 500), range(503, 504)]),
    ],
)
def test_statuses_are_classes_numbers_or_ranges(text: str, ranges: list[range]) -> None:
    assert list(parse_statuses(text)) == ranges


@pytest.mark.parametrize("text", ["", "6xx", "99", "2000", "200-", "ok", "5xx;4xx"])
def test_other_statuses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no HTTP status"):
        list(parse_statuses(text))
