"""Where settings come from; the only reader of the environment.

First wins: flags > environment (`INFERCTL_SERVER__PORT`) > `.env` > TOML > defaults.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSection

from inferctl.errors import SettingsError
from inferctl.settings import ModelSettings, Section, Settings

ENV_PREFIX = "INFERCTL_"
ENV_DELIMITER = "__"

Tree = dict[str, Any]


class InEnvironment(Settings, BaseSettings):
    """The tree as pydantic-settings reads it from names; never made.

    Apart from the tree, which the engine imports too: pydantic-settings is larger than pydantic.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The effective settings, and for each dotted key that was set: the source it came from."""

    settings: Settings
    origins: dict[str, str]


def load_settings(
    flags: Tree | None = None, config: Path | None = None, dotenv: Path = Path(".env")
) -> LoadedSettings:
    """Merge flags, environment, `.env` and the TOML file, first wins.

    `flags` is a nested tree; its values may be strings. Raises SettingsError with one line for
    every unknown key and every value that does not fit.
    """
    sources: list[tuple[str, Tree]] = [
        ("flag", flags or {}),
        ("environment", _from_environment(EnvSettingsSource(InEnvironment))),
        (
            str(dotenv),
            _from_environment(
                DotEnvSettingsSource(
                    InEnvironment, env_file=dotenv, dotenv_filtering="match_prefix"
                )
            ),
        ),
        (str(config), _read_toml(config) if config else {}),
    ]
    merged: Tree = {}
    origins: dict[str, str] = {}
    for name, tree in reversed(sources):
        for path, value in _leaves(tree):
            origins[".".join(path)] = name
            _put(merged, path, value)
    try:
        return LoadedSettings(Settings(**merged), origins)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error, origins))) from None


def settings_tree(assignments: list[str]) -> Tree:
    """The tree of `section.key=value` assignments, as `--set` takes them."""
    tree: Tree = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise SettingsError(
                f"--set {assignment!r} is not section.key=value", hint="e.g. batching.max_wait_ms=5"
            )
        _put(tree, tuple(key.split(".")), value)
    return tree


def setting_keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the tree, in its order; a model's own are `models.NAME.…`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from setting_keys(field.annotation, f"{prefix}{name}.")
        elif name == "models":
            yield from setting_keys(ModelSettings, f"{prefix}{name}.NAME.")
        else:
            yield prefix + name


def effective_values(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every dotted key with its value, models' own sections only where they are set."""
    tree = settings.model_dump(mode="json", exclude={"models"})
    tree["models"] = settings.model_dump(mode="json", exclude_unset=True).get("models", {})
    for path, value in _leaves(tree):
        if value != {}:
            yield ".".join(path), str(value).lower() if isinstance(value, bool) else str(value)


def _from_environment(source: EnvSettingsSource) -> Tree:
    """The source's tree with every other `INFERCTL_` name: a misspelt section is refused too."""
    try:
        found = source()
    except UnreadableSection as error:
        raise SettingsError(
            f"a section in one variable must be JSON: {error}",
            hint=f"set its keys one by one, e.g. {ENV_PREFIX}SERVER{ENV_DELIMITER}PORT",
        ) from None
    tree = {name: value for name, value in found.items() if name in Settings.model_fields}
    for name, value in source.env_vars.items():
        if name.startswith(ENV_PREFIX.lower()):
            path = tuple(name.removeprefix(ENV_PREFIX.lower()).split(ENV_DELIMITER))
            if path[0] not in Settings.model_fields:
                _put(tree, path, value)
    return tree


def _read_toml(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read the config file: {error.strerror}", where=str(path)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the config file is not TOML: {error}", where=str(path)) from None


def _leaves(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _put(tree: Tree, path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        child = tree.get(key)
        if not isinstance(child, dict):
            child = tree[key] = {}
        tree = child
    if value != {} or path[-1] not in tree:  # an empty section takes nothing away
        tree[path[-1]] = value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    """One line for each wrong setting: key, rule, nearest name, source."""
    rules: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        # A union reports each of its members below the key's own path.
        dotted = ".".join(str(part) for part in problem["loc"])
        dotted = max((key for key in origins if _lies_in(dotted, key)), key=len, default=dotted)
        rules.setdefault(dotted, []).append(_rule(dotted, problem["type"], problem["msg"]))
    for dotted, ways in rules.items():
        inside = (key for key in origins if _lies_in(key, dotted))
        key = dotted if dotted in origins else next(inside, dotted)
        yield f"{dotted}: {' or '.join(ways)} (from {_place(key, origins)})"


def _rule(dotted: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(dotted, _names(dotted), n=1, cutoff=0.5)
        return "unknown setting" + (f"; did you mean {nearest[0]}?" if nearest else "")
    if kind in ("model_type", "dict_type"):
        return "is a section; set its keys one by one"
    return message.removeprefix("Input ").partition(", unable")[0]


def _place(key: str, origins: Mapping[str, str]) -> str:
    """The source of a key as a person would look for it."""
    origin = origins.get(key) or next(
        (where for other, where in origins.items() if _lies_in(other, key)), ""
    )
    if origin in ("environment", ".env"):
        name = ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()
        return f"{name} in the {origin}" if origin == "environment" else f"{name} in {origin}"
    return origin


def _lies_in(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.")


def _names(like: str) -> Iterator[str]:
    """Every dotted key and the sections around it, with the model's name that `like` has."""
    model = like.split(".")[1] if like.startswith("models.") else "NAME"
    for key in setting_keys():
        yield from accumulate(key.replace(".NAME.", f".{model}.").split("."), "{}.{}".format)
