"""`inferctl jobs submit`: what it hands in, and what it says of what it could not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.errors import PredictError
from tests.client.jobs.fake import Fake, serving_jobs


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving_jobs() as fake:
        yield fake


def submit(server: Fake, *texts: bytes) -> Result:
    Path("texts").write_bytes(b"".join(text + b"\n" for text in texts))
    return CliRunner().invoke(app, ["jobs", "submit", "texts", "--url", server.url])


def test_what_is_handed_in_is_counted_and_its_job_is_printed(server: Fake) -> None:
    result = submit(server, b"good", b"bad")

    assert result.exit_code == 0
    assert result.stdout == f"{server.only.id}\n"
    assert result.stderr == f"submitted 2 items: {server.only.id}\n"


def test_what_cannot_be_handed_in_is_told_by_its_name(server: Fake) -> None:
    server.max_body_bytes = 60
    result = submit(server, b"\xff", b"good", b"x" * 60)

    assert result.stdout == f"{server.only.id}\n"
    counted, unreadable, too_large = result.stderr.splitlines()
    assert counted == f"submitted 1 items: {server.only.id}"
    assert unreadable.startswith("inferctl: not submitted: texts:1: the input cannot be written")
    assert too_large == "inferctl: not submitted: texts:3: it is too_large; do otherwise"
    assert isinstance(result.exception, PredictError)
    assert result.exception.what == "2 of 3 items were not submitted"


@pytest.mark.parametrize(
    ("lost", "said", "state"),
    [(0, "nothing was submitted", "cancelled"), (1, "a job may have been submitted", "queued")],
)
def test_who_interrupts_it_is_told_what_is_left(
    server: Fake, lost: int, said: str, state: str
) -> None:
    server.interrupts, server.lost_answers = 1, lost
    result = submit(server, b"good")

    assert result.exit_code == 130
    assert result.stderr == f"inferctl: interrupted: {said}\n"
    assert server.only.state == state
