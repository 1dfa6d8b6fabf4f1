"""A line of the request log for people: what they need, and nothing that moves the cursor."""

from __future__ import annotations

import re
from typing import Any

import pytest

from inferctl.requestlog.readable import readable, style_of

ENTRY: dict[str, Any] = {
    "time": "2026-11-26T21:22:34.341+00:00",
    "request_id": "me",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "route": "predict",
    "method": "POST",
    "path": "/predict",
    "model": "shapes",
    "version": 3,
    "key_id": "ci",
    "status": 200,
    "outcome": "ok",
    "body_bytes": 17,
    "rows": 1,
    "shape": "640x480",
    "batch_rows": 8,
    "decode_ms": 1.234,
    "queue_ms": 0.5,
    "inference_ms": 9.87,
    "postprocess_ms": 0.1,
    "total_ms": 12.34,
}


def test_it_tells_when_what_where_how_long_and_who() -> None:
    assert re.sub(" +", " ", readable(ENTRY)) == (
        "11-26 21:22:34.341 200 ok shapes/3 12.3 ms decode 1.2 queue 0.5 inference 9.9 "
        "postprocess 0.1 rows 1 in 8 640x480 key ci me trace 4bf92f3577b34da6a3ce929d0e0e4736"
    )


def test_what_a_line_does_not_say_is_left_out() -> None:
    short = {name: ENTRY[name] for name in ("time", "path", "status", "outcome", "total_ms")}
    assert re.sub(" +", " ", readable(short)) == "11-26 21:22:34.341 200 ok /predict 12.3 ms "


def test_lines_that_are_missing_are_told_of() -> None:
    line = readable({"time": ENTRY["time"], "dropped_lines": 7})
    assert line == "11-26 21:22:34.341  7 lines are missing here"


@pytest.mark.parametrize("name", ["time", "path", "outcome", "request_id", "trace_id", "shape"])
def test_no_member_can_move_the_cursor(name: str) -> None:
    assert re.fullmatch(r"[ -~]+", readable(ENTRY | {"model": None, name: "\x1b[2J\r\n\u2028ä"}))


@pytest.mark.parametrize("value", [None, "x", [1], {"a": "\n"}, 1e308])
def test_members_of_other_types_do_no_harm(value: object) -> None:
    for name in ENTRY:
        assert re.fullmatch(r"[ -~]+", readable(ENTRY | {name: value}))


@pytest.mark.parametrize(
    ("status", "style"), [(200, "green"), (404, "yellow"), (500, "bold red"), ("x", "bold red")]
)
def test_whose_fault_it_is_has_a_colour(status: object, style: str) -> None:
    assert style_of(status) == style
