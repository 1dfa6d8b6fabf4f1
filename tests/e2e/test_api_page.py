"""The examples of docs/api.md do what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.generate import DOCS
from inferctl.demo.scenes import scene_series
from tests.e2e.service import Service
from tests.e2e.test_predict import jpeg

pytestmark = pytest.mark.e2e

PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
COMMANDS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


def examples_of(page: str) -> list[tuple[str, str, str]]:
    """Language, text, and the answer that stands behind it, if one does."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    following = [*blocks[1:], ("", "")]
    return [
        (language, text, answer if kind == "json" else "")
        for (language, text), (kind, answer) in zip(blocks, following, strict=True)
        if language in COMMANDS
    ]


EXAMPLES = examples_of(PAGE)


def form(content: Any) -> Any:
    """Keys and types; of a list those of its first element."""
    if isinstance(content, dict):
        return {key: form(value) for key, value in content.items()}
    if isinstance(content, list):
        return [form(value) for value in content[:1]]
    return float if type(content) is int else type(content)


@pytest.mark.parametrize(("language", "text", "answer"), EXAMPLES)
def test_an_example_is_answered_as_the_page_shows(
    service: Service, tmp_path: Path, language: str, text: str, answer: str
) -> None:
    photo = next(scene for scene in scene_series(4, 20) if len(scene.labels) > 1)
    (tmp_path / "photo.jpg").write_bytes(jpeg(photo))
    assert "localhost:8000" in text
    here = text.replace("localhost:8000", service.url.removeprefix("http://"))
    done = subprocess.run(
        [*COMMANDS[language], here],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if answer:
        assert form(json.loads(done.stdout)) == form(json.loads(answer))
    elif language == "sh":
        assert done.stdout.startswith("HTTP/1.1 200")
    else:
        assert done.stdout.startswith("(1, 32, 4) 0.")


def test_there_are_examples_of_each_dialect() -> None:
    texts = " ".join(text for _, text, _ in EXAMPLES)
    for path in ("/predict", "/infer", ":predict", "triton"):
        assert path in texts
