"""`inferctl logs`: what a person types, and what comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.requestlog.readable import printable
from tests.requestlog.lines import HOSTILE, append, line, numbered
from tests.unmeasured import without_coverage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "requests.log"
    path.parent.mkdir()
    path.write_bytes(numbered(*range(30)))
    return path


def shown(*arguments: str, given: bytes | None = None) -> str:
    """What is printed, as CliRunner's terminal-less stdout has it."""
    result = CliRunner().invoke(app, ["logs", *arguments], input=given)
    assert result.exception is None, result.exception
    assert result.exit_code == 0
    return result.stdout


def ids(text: str) -> list[str]:
    return [each.split()[-1] for each in text.splitlines()]


def test_without_following_all_lines_are_shown_readable(path: Path) -> None:
    text = shown(str(path), "--no-follow")
    assert ids(text) == [str(number) for number in range(30)]
    assert text.startswith("11-26 21:22:34.341  200 ok ")
    assert "\x1b" not in text


def test_the_last_ones_are_chosen_among_those_that_are_wanted(path: Path) -> None:
    append(path, line(request_id="x", status=503) + numbered(31, 32))
    append(path, line(request_id="y", status=500) + numbered(33))
    assert ids(shown(str(path), "--no-follow", "-n", "3")) == ["32", "y", "33"]
    assert ids(shown(str(path), "--no-follow", "-n", "5", "--status", "5xx")) == ["x", "y"]
    assert ids(shown(str(path), "--no-follow", "-n", "1", "--status", "5xx")) == ["y"]
    assert shown(str(path), "--no-follow", "-n", "0") == ""


def test_each_filter_is_a_flag(path: Path) -> None:
    members = {"model": "m", "key_id": "ci", "outcome": "overloaded", "trace_id": "f" * 32}
    append(path, line(request_id="it", status=429, total_ms=150, **members))
    for flags in (
        ("--slow", "100ms"), ("--status", "429"), ("--status", "500,400-499"), ("--model", "m"),
        ("--key", "ci"), ("--code", "overloaded"), ("--trace-id", "f" * 32), ("--request-id", "it"),
    ):  # fmt: skip
        assert "it" in shown(str(path), "--no-follow", "--json", *flags)
        assert shown(str(path), "--no-follow", "--json", *flags).count("\n") == 1


def test_requests_are_counted_by_what_their_lines_say(path: Path) -> None:
    append(path, line(status=429, key_id="ci") * 2 + line(status=503, key_id="ci"))
    table = shown(str(path), "--by", "key_id", "--by", "status")
    assert [row.split() for row in table.splitlines()] == [
        ["requests", "key_id", "status"],
        ["30", "-", "200"], ["2", "ci", "429"], ["1", "ci", "503"],
    ]  # fmt: skip
    assert shown(str(path), "--status", "5xx", "--by", "model").split()[-2:] == ["1", "shapes"]
    refused = CliRunner().invoke(app, ["logs", str(path), "--by", "wait"])
    assert "'wait' is no member of a line" in str(refused.exception)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_path_is_counted_as_it_is_shown_and_styles_nothing(path: Path, hostile: str) -> None:
    path.write_bytes(line(path=hostile))
    assert shown(str(path), "--by", "path").split() == ["requests", "path", "1", printable(hostile)]


def test_json_is_the_lines_as_they_are(path: Path) -> None:
    assert shown(str(path), "--no-follow", "--json").encode() == path.read_bytes()


def test_lines_that_are_no_json_are_counted(path: Path) -> None:
    append(path, b"what\never\n" + numbered(30))
    result = CliRunner().invoke(app, ["logs", str(path), "--no-follow", "-n", "2"])
    assert ids(result.stdout) == ["29", "30"]
    assert result.stderr == "inferctl: 2 lines are no JSON\n"


def test_the_settings_say_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent.parent)
    assert ids(shown("--no-follow", "-n", "1")) == ["29"]
    other = path.parent / "other.log"
    other.write_bytes(numbered(7))
    monkeypatch.setenv("INFERCTL_LOGS__PATH", str(other))
    assert ids(shown("--no-follow")) == ["7"]


def test_standard_input_is_read_to_its_end() -> None:
    assert ids(shown("-", given=numbered(1, 2, 3))) == ["1", "2", "3"]
    assert ids(shown("-", "-n", "2", given=numbered(1, 2, 3))) == ["2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.log"], "cannot read the request log: No such file or directory (nowhere.log)"),
        (["--slow", "soon"], "'soon' is no duration (--slow); write 100ms or 1.5s"),
        (["--status", "bad"], "'bad' is no HTTP status (--status); write 5xx, 429 or 200-299"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["logs", *arguments])
    assert str(result.exception).startswith(message)
    assert "\n" not in str(result.exception)


def test_a_service_that_logs_to_stdout_is_to_be_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERCTL_LOGS__PATH", "-")
    result = CliRunner().invoke(app, ["logs"])
    assert "pipe its output to `inferctl logs -`" in str(result.exception)


@pytest.fixture
def following(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "inferctl", "logs", str(path), "-n", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_coverage(),
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


def next_id(stream: IO[str] | None) -> str:
    assert stream is not None
    return ids(stream.readline())[0]


def test_it_follows_into_the_next_file_until_ctrl_c(
    path: Path, following: subprocess.Popen[str]
) -> None:
    assert next_id(following.stdout) == "29"
    append(path, numbered(30))
    assert next_id(following.stdout) == "30"
    path.rename(path.with_suffix(".1"))
    path.write_bytes(numbered(31))
    assert next_id(following.stdout) == "31"
    following.send_signal(signal.SIGINT)
    assert following.wait(60) == 0
    assert following.communicate() == ("", "")


def test_a_closed_pipe_ends_it_quietly(path: Path, following: subprocess.Popen[str]) -> None:
    assert following.stdout is not None
    assert next_id(following.stdout) == "29"
    following.stdout.close()
    append(path, numbered(30))
    assert following.wait(60) == 0
    assert following.stderr is not None
    assert following.stderr.read() == ""


def test_a_terminal_gets_colours(path: Path) -> None:
    ours, theirs = os.openpty()
    environment = {"TERM": "xterm-256color", "PATH": os.environ["PATH"]}
    environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    command = [sys.executable, "-m", "inferctl", "logs", str(path), "--no-follow", "-n", "1"]
    subprocess.run(command, stdout=theirs, env=environment, check=True)
    assert b"\x1b[32m200 ok" in os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
