"""Settings written down: each text, read back, is the settings it was made of."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from inferctl.keys import hash_of
from inferctl.reference import (
    PLACEHOLDER,
    allowed,
    env_text,
    in_toml,
    json_schema,
    own_fields,
    setting_fields,
    toml_text,
)
from inferctl.settings import Settings
from inferctl.sources import load_settings

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
HASH = hash_of(b"key")


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)


def uncommented(text: str) -> str:
    """With every setting in force; what must be given is given."""
    text = re.sub(r"^# (?=\[[\w.]+\]$|[\w]+ = |INFERCTL_\w+=)", "", text, flags=re.MULTILINE)
    text = text.replace(PLACEHOLDER, HASH).replace("__HASH=", f"__HASH={HASH}")
    return text.replace(".NAME", ".name")


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def without_names(settings: Settings) -> Settings:
    """The sections by names of the operator's left out."""
    server = settings.server.model_copy(update={"api_keys": {}})
    return settings.model_copy(update={"models": {}, "server": server})


def test_setting_fields_are_every_leaf_of_the_tree() -> None:
    keys = [key for key, _ in setting_fields()]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "models_dir"
    assert {"server.port", "logs.path", "models.NAME.default"} <= set(keys)
    tree = Settings().model_dump(exclude={"models_dir", "models"})
    for section, values in tree.items():
        own = [key for key in keys if key.startswith(f"{section}.")]
        assert list(dict.fromkeys(key.partition(".NAME")[0] for key in own)) == [
            f"{section}.{name}" for name in values
        ]
    for section in ("batching", "limits", "runtime"):
        assert {f"models.NAME.{section}.{name}" for name in tree[section]} <= set(keys)


def test_the_toml_file_as_it_is_written_sets_nothing() -> None:
    Path("serve.toml").write_text(toml_text())
    loaded = load_settings(config=Path("serve.toml"))
    assert loaded.settings == Settings()
    assert not [key for key in loaded.origins if "." in key]  # headers alone


def test_the_toml_file_uncommented_sets_every_key_to_its_default() -> None:
    tree = tomllib.loads(uncommented(toml_text()))
    assert set(leaves(tree)) == {key.replace(".NAME", ".name") for key, _ in own_fields()}
    Path("serve.toml").write_text(uncommented(toml_text()))
    settings = load_settings(config=Path("serve.toml")).settings
    assert without_names(settings) == Settings()


def test_the_toml_file_says_what_each_means_and_may_be() -> None:
    text = toml_text().replace("\n# ", " ")
    for key, field in own_fields():
        name, words = key.rpartition(".")[2], ", ".join(allowed(field))
        assert f"{field.description} {name} = {in_toml(field)}  # {words}\n" in text


def test_the_variables_uncommented_set_every_key_to_its_default() -> None:
    Path(".env").write_text(uncommented(env_text()))
    loaded = load_settings()
    assert without_names(loaded.settings) == Settings()
    assert {key.replace(".name.", ".NAME.") for key in loaded.origins} == {
        key for key, _ in own_fields()
    }


DEVICES = ("auto", "cpu", "cuda", "cuda:all", "cuda:1", "cuda:0,1")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("server.workers", ['"auto"', "1 … 256"]),
        ("server.port", ["0 … 65,535"]),
        ("server.memory_limit_bytes", ["0 or more"]),
        ("server.docs", ['"auto"', "boolean"]),
        ("server.admin", ["boolean"]),
        ("server.allowed_hosts", ["list"]),
        ("runtime.device", [f'"{one}"' for one in DEVICES]),
        ("models.NAME.versions", ['"latest"', "list"]),
        ("models.NAME.labels", ["table"]),
        ("models_dir", ["string"]),
    ],
)
def test_what_a_setting_may_be(key: str, words: list[str]) -> None:
    assert allowed(dict(own_fields())[key]) == words


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_the_schema_takes_every_config_of_ours(config: Path) -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(tomllib.loads(config.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = 9\nworkers = 'auto'\nallowed_hosts = ['a']",
        f"[server.api_keys]\nci = '{HASH}'",
        f"[server.api_keys.ci]\nhash = '{HASH}'\nscopes = ['admin']",
        "[models.shapes]\nversions = [1, 2]\nlabels = { stable = 1 }",
        "[models.shapes.batching]\nmax_wait_ms = 5",
    ],
)
def test_the_schema_takes_what_the_settings_take(text: str) -> None:
    Settings.model_validate(tomllib.loads(text))
    Draft202012Validator(json_schema()).validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = 65_536",
        "[server]\nprot = 1",
        "[server]\nworkers = 'many'",
        "[srver]\nport = 1",
        "[server.api_keys]\nci = 'inferctl_key'",
        "[server.api_keys.ci]\nscopes = ['admin']",
        "[models.shapes.batching]\nmax_wait_ms = -1",
        "[models.shapes]\nversions = 'newest'",
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Settings.model_validate(tomllib.loads(text))
    with pytest.raises(ValidationError):
        Draft202012Validator(json_schema()).validate(tomllib.loads(text))
