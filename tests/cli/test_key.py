"""`inferctl key`: the key once, and settings that know it."""

from __future__ import annotations

import tomllib

import pytest
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.errors import UsageError
from inferctl.keys import hash_of
from inferctl.settings import ServerSettings


@pytest.mark.parametrize(
    ("flags", "scopes"),
    [
        ((), ("predict",)),
        (("--scope", "admin"), ("admin",)),
        (("--scope", "predict", "--scope", "admin"), ("predict", "admin")),
    ],
)
def test_a_key_and_its_settings(flags: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["key", "ci", *flags])
    assert result.exit_code == 0
    key = result.stderr.splitlines()[0]
    assert key not in result.stdout
    settings = ServerSettings.model_validate(tomllib.loads(result.stdout)["server"])
    assert settings.api_keys["ci"].hash.get_secret_value() == hash_of(key.encode())
    assert settings.api_keys["ci"].scopes == scopes


@pytest.mark.parametrize("name", ["CI", "", "a b", "a\n", "-a", "x" * 33, "a.b"])
def test_a_name_that_the_log_could_not_hold_is_refused(name: str) -> None:
    result = CliRunner().invoke(app, ["key", "--", name])
    assert isinstance(result.exception, UsageError)
    assert result.stdout == ""
