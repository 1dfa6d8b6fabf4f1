"""schemathesis reads the API's document, and asks whatever it allows and forbids."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

CONFIG = Path(__file__).with_name("schemathesis.toml")
COMMAND = Path(sys.executable).with_name("schemathesis")


def test_every_answer_is_as_the_document_says_and_no_request_is_a_bug(
    service: Service, tmp_path: Path
) -> None:
    run = subprocess.run(
        [
            COMMAND, "--config-file", CONFIG, "run", f"{service.url}/openapi.json",
            "--max-examples", "30", "--seed", "1", "--no-color",
            # The same functions answer with the version in the path.
            "--exclude-path-regex", "/versions/",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
