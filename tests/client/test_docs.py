"""The examples of docs/client.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from docs.generate import DOCS
from inferctl.client import ClientError
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

TEXT = (DOCS / "client.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
URL = "http://127.0.0.1:8000"


def test_the_examples_run(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (100, 50), "white").save("photo.jpg")
    Path("images").mkdir()
    Image.new("RGB", (9, 9), "red").save("images/red.jpg")
    names: dict[str, object] = {}

    try:
        for example in EXAMPLE.findall(TEXT):
            exec(compile(example.replace(URL, service.url), "client.md", "exec"), names)
    finally:
        names["client"].close()  # type: ignore[attr-defined]

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "cat 1.0 (0.0, 0.0, 50.0, 25.0)"
    assert "failed:" not in "".join(said)
    assert {"cat", "good", "ok", "True"} <= set(said)
    assert names["logits"].tolist() == [10, 4, 1]  # type: ignore[attr-defined]


def test_the_table_of_errors_names_them_all() -> None:
    for error in ClientError.__subclasses__():
        assert f"`{error.__name__}`" in TEXT
