"""The lines, and the file that is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferctl.client import Detection, Detections, InvalidInput, NotFound
from inferctl.errors import OutputError
from inferctl.predict.output import Results, line_of

FOUND = Detections(
    model="shapes", version=1, inference_ms=1.0, latency_ms=2.0, request_id="",
    detections=(Detection("cat", 0.5, (0, 0, 1, 1)),),
)  # fmt: skip


def test_a_line_is_the_input_and_its_prediction() -> None:
    assert json.loads(line_of("a.jpg", FOUND)) == {
        "input": "a.jpg",
        "detections": [{"label": "cat", "confidence": 0.5, "bbox": [0, 0, 1, 1]}],
        "model": "shapes",
        "version": 1,
        "inference_ms": 1.0,
        "latency_ms": 2.0,
    }


def test_a_line_of_an_error_says_what_is_known() -> None:
    error = NotFound("no such", hint="look", status=404, code="not_found", request_id="7")
    expected = {
        "status": 404, "code": "not_found", "detail": "no such", "hint": "look", "request_id": "7",
    }  # fmt: skip
    assert json.loads(line_of("x", error)) == {"input": "x", "error": expected}
    assert json.loads(line_of("x", InvalidInput("bad")))["error"] == {
        "code": "invalid_input",
        "detail": "bad",
    }


def test_a_name_that_is_not_utf8_is_written_as_far_as_it_is() -> None:
    line = json.loads(line_of("a\udcff.jpg", InvalidInput("cannot read a\udcff.jpg")))
    assert line["input"] == "a?.jpg"
    assert line["error"]["detail"] == "cannot read a?.jpg"


def test_a_file_takes_its_name_with_the_last_line(tmp_path: Path) -> None:
    path, partial = tmp_path / "r.jsonl", tmp_path / "r.jsonl.partial"
    path.write_text("old")
    with Results(path) as results:
        results.write(b"1\n")
        assert path.read_text() == "old"
        assert partial.exists()
    assert path.read_text() == "1\n"
    assert not partial.exists()


def write_and_interrupt(path: Path) -> None:
    with Results(path) as results:
        results.write(b"1\n")
        raise KeyboardInterrupt


def test_what_ends_early_leaves_the_old_file_and_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(path)
    assert path.read_text() == "old"
    assert (tmp_path / "r.jsonl.partial").read_text() == "1\n"


@pytest.mark.parametrize("name", ["no/r.jsonl", "."])
def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="cannot write the results"):
        Results(tmp_path / name)
