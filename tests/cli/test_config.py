"""`inferctl config`: what counts and why, and files that are never overwritten unasked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.errors import OutputError, UsageError
from inferctl.keys import hash_of
from inferctl.reference import env_text, toml_text
from inferctl.sources import load_settings

HASH = hash_of(b"key")


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["config", *words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*words: str) -> Exception:
    result = CliRunner().invoke(app, ["config", *words])
    assert isinstance(result.exception, (OutputError, UsageError))
    assert "\n" not in str(result.exception)
    return result.exception


@pytest.mark.parametrize("command", [(), ("show",)])
def test_every_setting_has_its_value_and_its_source(command: tuple[str, ...]) -> None:
    Path("serve.toml").write_text("[server]\nport = 9\n")
    flags = ("--config", "serve.toml", "--set", "server.admin=true")
    rows = [line.split() for line in run(*command, *flags).splitlines()]
    assert ["server.port", "9", "serve.toml"] in rows
    assert ["server.admin", "true", "flag"] in rows
    assert ["batching.max_wait_ms", "0.0", "default"] in rows


@pytest.mark.parametrize("command", [(), ("show",)])
def test_as_json_values_keep_their_kind(command: tuple[str, ...]) -> None:
    rows = json.loads(run(*command, "--json", "--set", "server.allowed_hosts=a,b"))
    found = {row["setting"]: (row["value"], row["from"]) for row in rows}
    assert found["server.allowed_hosts"] == (["a", "b"], "flag")
    assert found["server.port"] == (8000, "default")
    assert found["server.admin"] == (False, "default")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_secret_is_masked(form: tuple[str, ...]) -> None:
    shown = run("show", *form, "--set", f"server.api_keys.ci.hash={HASH}")
    assert "server.api_keys.ci.hash" in shown
    assert "***" in shown
    assert HASH.removeprefix("sha256:") not in shown


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ann:hunter2@host:1/0", "redis://***@host:1/0"),
        ("redis://host?db=1&password=hunter2&x=2", "redis://host?db=1&password=***&x=2"),
    ],
)
def test_the_password_of_redis_is_masked(form: tuple[str, ...], url: str, shown: str) -> None:
    told = run("show", *form, "--set", f"jobs.redis_url={url}")
    assert shown in told
    assert "hunter2" not in told
    assert "hunter2" not in str(refusal("show", "--set", f"jobs.redis_url=x{url}"))
    assert "hunter2" not in repr(load_settings({"jobs": {"redis_url": url}}))


def test_brackets_in_a_value_are_shown() -> None:
    assert "[red]x" in run("--set", "models_dir=[red]x")


def test_options_before_a_command_are_refused() -> None:
    assert "after the command" in str(refusal("--set", "server.port=1", "show"))


def test_init_writes_a_file_that_loads() -> None:
    run("init")
    assert Path("serve.toml").read_text() == toml_text() == run("init", "-")
    load_settings(config=Path("serve.toml"))
    assert [path.name for path in Path().iterdir()] == ["serve.toml"]


@pytest.mark.parametrize("command", ["init", "schema", "env"])
def test_a_file_that_exists_is_replaced_by_force_alone(command: str) -> None:
    file = Path("mine")
    file.write_text("mine")
    assert "exists already (mine)" in str(refusal(command, "mine"))
    assert file.read_text() == "mine"
    run(command, "mine", "--force")
    assert file.read_text() == run(command, "-")
    assert list(Path().iterdir()) == [file]


@pytest.mark.parametrize("file", ["absent/serve.toml", "serve.toml/x", "."])
def test_a_file_that_cannot_be_written_leaves_nothing(file: str) -> None:
    Path("serve.toml").write_text("mine")
    refusal("init", file, "--force")
    assert [path.name for path in Path().iterdir()] == ["serve.toml"]


def test_schema_and_env_go_to_stdout() -> None:
    assert json.loads(run("schema"))["properties"]["server"]
    assert run("env") == env_text()
