"""Sources of settings: their order, their origins, and what is refused from each."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from inferctl import sources
from inferctl.errors import SettingsError
from inferctl.reference import setting_fields
from inferctl.settings import Settings
from inferctl.sources import effective_values, load_settings, settings_tree, surroundings

FLAG, ENVIRONMENT, DOTENV, TOML = "flag", "environment", ".env", "serve.toml"
ORDER = (FLAG, ENVIRONMENT, DOTENV, TOML)


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def set_in(monkeypatch: pytest.MonkeyPatch) -> SetIn:
    return SetIn(monkeypatch)


class SetIn:
    """Puts dotted keys into sources, then loads them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._flags: list[str] = []

    def __call__(self, source: str, key: str, value: object) -> None:
        variable = f"INFERCTL_{key.upper().replace('.', '__')}"
        section, _, name = key.rpartition(".")
        if source == FLAG:
            self._flags.append(f"{key}={value}")
        elif source == ENVIRONMENT:
            self._monkeypatch.setenv(variable, str(value))
        elif source == DOTENV:
            append(Path(DOTENV), f"{variable}={value}\n")
        else:
            append(Path(TOML), f"[{section}]\n{name} = {value!r}\n" if section else f"{name} = 1\n")

    def load(self) -> Any:
        return load_settings(
            settings_tree(self._flags), Path(TOML) if Path(TOML).exists() else None
        )

    def refusal(self) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load()
        return str(caught.value).split("\n")


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_flags_then_environment_then_dotenv_then_toml(first: int, set_in: SetIn) -> None:
    for port, source in enumerate(ORDER[first:], start=1000 + first):
        set_in(source, "server.port", port)
    loaded = set_in.load()
    assert loaded.settings.server.port == 1000 + first
    assert loaded.origins == {"server.port": ORDER[first]}


def test_without_sources_there_are_only_defaults() -> None:
    loaded = load_settings()
    assert loaded.settings == Settings()
    assert loaded.origins == {}


def test_a_section_is_merged_key_by_key(set_in: SetIn) -> None:
    set_in(TOML, "limits.max_pixels", 1)
    set_in(DOTENV, "limits.max_concurrent", 2)
    set_in(ENVIRONMENT, "limits.max_queue_rows", 3)
    set_in(FLAG, "limits.max_text_chars", 4)
    loaded = set_in.load()
    limits = loaded.settings.limits
    assert limits.model_dump(exclude_unset=True) == {
        "max_pixels": 1,
        "max_concurrent": 2,
        "max_queue_rows": 3,
        "max_text_chars": 4,
    }
    assert loaded.origins == {
        "limits.max_pixels": TOML,
        "limits.max_concurrent": DOTENV,
        "limits.max_queue_rows": ENVIRONMENT,
        "limits.max_text_chars": FLAG,
    }


def test_a_models_section_is_merged_key_by_key_too(set_in: SetIn) -> None:
    set_in(TOML, "models.shapes.batching.max_wait_ms", 10)
    set_in(ENVIRONMENT, "models.shapes.batching.max_batch_rows", 8)
    set_in(FLAG, "batching.max_wait_ms", 5)
    settings = set_in.load().settings
    own = settings.for_model("shapes").batching
    assert (own.max_wait_ms, own.max_batch_rows) == (10, 8)
    assert settings.for_model("other").batching.max_wait_ms == 5


def test_an_empty_section_takes_nothing_away(set_in: SetIn) -> None:
    """A TOML file whose keys are all commented out leaves a bare header."""
    append(Path(TOML), "[server]\n# port = 1\n")
    set_in(DOTENV, "server.host", "::1")
    set_in(FLAG, "server.port", 9)
    server = set_in.load().settings.server
    assert (server.host, server.port) == ("::1", 9)


def test_an_empty_section_in_a_stronger_source_takes_nothing_away_either(
    set_in: SetIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_in(TOML, "server.port", 9)
    monkeypatch.setenv("INFERCTL_SERVER", "{}")
    assert set_in.load().settings.server.port == 9


@pytest.mark.row(115, 116)
@pytest.mark.parametrize("source", ORDER)
@pytest.mark.parametrize(
    ("key", "refused", "nearest"),
    [
        ("server.prot", "server.prot", "server.port"),
        ("batchng.max_wait_ms", "batchng", "batching"),
        ("runtme.max_pixels", "runtme", "runtime"),
        (
            "models.shapes.limits.max_concurent",
            "models.shapes.limits.max_concurent",
            "models.shapes.limits.max_concurrent",
        ),
    ],
)
def test_a_misspelt_name_is_refused_from_every_source(
    source: str, key: str, refused: str, nearest: str, set_in: SetIn
) -> None:
    set_in(source, key, 1)
    assert set_in.refusal() == [
        f"{refused}: unknown setting; did you mean {nearest}? (from {place(source, key)})"
    ]


def place(source: str, key: str) -> str:
    """Where a person finds the setting."""
    variable = "INFERCTL_" + key.upper().replace(".", "__")
    places = {ENVIRONMENT: f"{variable} in the environment", DOTENV: f"{variable} in .env"}
    return places.get(source, source)


@pytest.mark.row(116)
def test_a_section_with_one_underscore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERCTL_SERVER_PORT", "9")
    with pytest.raises(SettingsError, match=r"^server_port: .* did you mean server\.port\?"):
        load_settings()


def test_a_name_like_no_other_gets_no_advice(set_in: SetIn) -> None:
    set_in(ENVIRONMENT, "zzzzzz", 1)
    assert set_in.refusal() == ["zzzzzz: unknown setting (from INFERCTL_ZZZZZZ in the environment)"]


@pytest.mark.row(115)
def test_every_problem_has_its_own_line_and_origin(set_in: SetIn) -> None:
    set_in(TOML, "limits.max_pixels", 0)
    set_in(ENVIRONMENT, "server.port", "http")
    set_in(FLAG, "server.portx", 1)
    assert sorted(set_in.refusal()) == [
        "limits.max_pixels: should be greater than or equal to 1, not 0 (from serve.toml)",
        "server.port: should be a valid integer, not 'http'"
        " (from INFERCTL_SERVER__PORT in the environment)",
        "server.portx: unknown setting; did you mean server.port? (from flag)",
    ]


@pytest.mark.row(115)
def test_sources_that_cannot_be_read_stand_beside_values_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, set_in: SetIn
) -> None:
    monkeypatch.setenv("INFERCTL_LIMITS", "none")
    Path(DOTENV).write_bytes(b"\xff\xfe")
    Path(TOML).write_text("[server")
    set_in(FLAG, "server.workers", "many")
    toml, dotenv, environment, flag = set_in.refusal()
    assert toml.startswith("the config file is not TOML: ")
    assert dotenv == "the file is not UTF-8 (.env)"
    assert environment.startswith("a section in one variable must be JSON: ")
    assert flag.endswith("not 'many' (from flag)")


def test_a_dotenv_file_that_may_not_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, set_in: SetIn
) -> None:
    """Root, as whom tests may run, may read any."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sources, "of_dotenv", refuse)
    assert set_in.refusal() == ["cannot read the file: Permission denied (.env)"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("server.port", ", not 'hunter2'"),
        ("server.api_keys", ""),
        ("logs.password", ""),
        ("jobs.redis_url", ""),
    ],
)
def test_a_secret_is_not_repeated(name: str, told: str) -> None:
    tree: dict[str, Any] = settings_tree([f"{name}=hunter2"])
    assert sources._not(name, tree) == told


def test_a_long_value_is_cut(set_in: SetIn) -> None:
    set_in(FLAG, "server.port", "9" * 5000)
    (line,) = set_in.refusal()
    assert len(line) < 120


def test_a_section_where_a_value_is_wanted_is_one_problem(set_in: SetIn) -> None:
    set_in(TOML, "server.workers.count", 3)
    assert set_in.refusal() == [
        "server.workers: should be 'auto' or should be a valid integer (from serve.toml)"
    ]


def test_a_label_that_does_not_fit_is_named_itself(set_in: SetIn) -> None:
    set_in(TOML, "models.shapes.labels.New", 3)
    assert set_in.refusal() == [
        "models.shapes.labels.New: should match pattern '^[a-z][a-z0-9_-]{0,31}$' (from serve.toml)"
    ]


def test_a_name_of_a_key_that_does_not_fit_is_named_itself(set_in: SetIn) -> None:
    set_in(TOML, "server.api_keys.CI.requests_per_s", 3)
    assert (
        "server.api_keys.CI: should match pattern '^[a-z0-9][a-z0-9_-]{0,31}$' (from serve.toml)"
        in set_in.refusal()
    )


@pytest.mark.parametrize("value", ["a\nb", "\0", "\x1b[2J"])
def test_no_name_or_path_has_control_characters(value: str, set_in: SetIn) -> None:
    append(Path(TOML), f"models_dir = {json.dumps(value)}\n")
    (line,) = set_in.refusal()
    assert line == f"models_dir: should have no control characters, not {value!r} (from serve.toml)"


def test_a_longer_name_is_not_taken_for_the_setting_it_begins_with(set_in: SetIn) -> None:
    set_in(FLAG, "limits.max_concurrent", 5)
    set_in(TOML, "limits.max_concurrent_rows.soft", 1)
    assert set_in.refusal() == [
        "limits.max_concurrent_rows: unknown setting; did you mean limits.max_concurrent?"
        " (from serve.toml)"
    ]


def test_a_choice_names_all_its_forms_on_one_line(set_in: SetIn) -> None:
    set_in(FLAG, "server.workers", 0)
    assert set_in.refusal() == [
        "server.workers: should be 'auto' or should be greater than or equal to 1, not '0'"
        " (from flag)"
    ]


def test_a_value_in_place_of_a_section_is_refused(set_in: SetIn) -> None:
    set_in(TOML, "server.port", 1)
    set_in(FLAG, "server", 3)
    (line,) = set_in.refusal()
    assert line == "server: is a section; set its keys one by one (from flag)"


def test_a_section_may_come_as_json_in_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERCTL_SERVER", '{"port": 7, "docs": false}')
    monkeypatch.setenv("INFERCTL_SERVER__PORT", "8")
    server = load_settings().settings.server
    assert (server.port, server.docs) == (8, False)


def test_a_variable_that_is_not_json_where_a_section_is_wanted_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INFERCTL_SERVER", "localhost")
    with pytest.raises(SettingsError, match=r'"server".*INFERCTL_SERVER__PORT') as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_foreign_names_in_the_dotenv_file_are_ignored(set_in: SetIn) -> None:
    append(Path(DOTENV), "DATABASE_URL=postgres://db\nSERVER__PORT=1\n")
    set_in(DOTENV, "server.port", 9)
    assert set_in.load().origins == {"server.port": DOTENV}


def test_a_config_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read the config file: No such file") as caught:
        load_settings(config=tmp_path / "absent.toml")
    assert str(caught.value).endswith(f"({tmp_path / 'absent.toml'})")


@pytest.mark.parametrize("content", [b"server = [", b"server.host = '\xff'"])
def test_a_config_file_that_is_not_toml_is_refused(content: bytes) -> None:
    Path(TOML).write_bytes(content)
    with pytest.raises(SettingsError, match="the config file is not TOML: ") as caught:
        load_settings(config=Path(TOML))
    assert str(caught.value).endswith(f"({TOML})")


def test_assignments_make_a_tree_and_the_later_wins() -> None:
    assert settings_tree(["a.b=1", "a.c=x=y", "d=", "a.b=2"]) == {
        "a": {"b": "2", "c": "x=y"},
        "d": "",
    }


@pytest.mark.parametrize("assignment", ["server.port", "=1", "server.=1", ".port=1", "a..b=1", ""])
def test_an_assignment_of_another_form_is_refused(assignment: str) -> None:
    with pytest.raises(SettingsError, match=r"is not section\.key=value") as caught:
        settings_tree([assignment, "server.port=1", "x"])
    first, second = str(caught.value).split("\n")
    assert repr(assignment) in first
    assert "'x'" in second


def test_effective_values_are_every_key_and_what_models_set() -> None:
    settings = load_settings(
        {"server": {"port": "9"}, "models": {"shapes": {"limits": {"max_pixels": "5"}}}}
    ).settings
    values = dict(effective_values(settings))
    assert values["server.port"] == 9
    assert values["server.workers"] == "auto"
    assert values["models.shapes.limits.max_pixels"] == 5
    assert {key for key in values if key.startswith("models.")} == {
        "models.shapes.limits.max_pixels"
    }
    unset = {key for key, _ in setting_fields() if ".NAME." not in key}
    assert unset == {key for key in values if not key.startswith("models.")}


def test_what_is_set_beside_files_and_flags_is_known_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("INFERCTL_SERVER__WORKERS=2\nINFERCTL_MODELS_DIR=here\n")
    monkeypatch.setenv("INFERCTL_SERVER__WORKERS", "3")

    assert surroundings() == {
        "server.workers": "INFERCTL_SERVER__WORKERS in the environment",
        "models_dir": "INFERCTL_MODELS_DIR in .env",
    }
