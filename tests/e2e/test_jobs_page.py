"""The examples of docs/jobs.md do what the page says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from docs.generate import DOCS
from inferctl.demo.scenes import scene_series
from tests.e2e.service import Service
from tests.e2e.test_api_page import COMMANDS, examples_of, form
from tests.e2e.test_predict import jpeg

pytestmark = pytest.mark.e2e

EXAMPLES = examples_of((DOCS / "jobs.md").read_text(encoding="utf-8"))


def documents(text: str) -> list[Any]:
    """One that may be in several lines, or one a line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("language", "text", "answer"), EXAMPLES)
def test_an_example_is_answered_as_the_page_shows(
    service: Service, tmp_path: Path, language: str, text: str, answer: str
) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg(next(iter(scene_series(4, 1)))))
    assert "localhost:8000" in text
    here = text.replace("localhost:8000", service.url.removeprefix("http://"))
    done = subprocess.run(
        [*COMMANDS[language], here],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if answer:
        told, shown = documents(done.stdout), documents(answer)
        assert [*map(form, told)] == [*map(form, shown)]
        if "status" in shown[0]:
            assert [line["status"] for line in told] == [line["status"] for line in shown]
    else:
        assert done.stdout.startswith(("HTTP/1.1 200", "HTTP/1.1 202"))


def test_there_are_examples_of_each_way_to_submit() -> None:
    texts = " ".join(text for _, text, _ in EXAMPLES)
    for part in ("Idempotency-Key", "x-ndjson", "image/jpeg", "respond-async"):
        assert part in texts
