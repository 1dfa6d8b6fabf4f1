"""Where settings come from; the only reader of the environment.

First wins: flags > environment (`INFERCTL_SERVER__PORT`) > `.env` > TOML > defaults.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSection

from inferctl.errors import SettingsError
from inferctl.reference import NAME, NAMED, setting_fields, variable
from inferctl.section import Section
from inferctl.settings import Settings
from inferctl.variables import (
    API_KEY,
    ENV_DELIMITER,
    ENV_PREFIX,
    Variables,
    of_dotenv,
    of_environment,
)

# A wrong value is told up to this length, and one of such a name never.
MAX_SHOWN = 40
SECRET = re.compile("key|secret|password|redis_url")

Tree = dict[str, Any]


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
    every source that cannot be read, every unknown key and every value that does not fit.
    """
    sources: list[tuple[str, Callable[[], Tree]]] = [
        ("flag", lambda: flags or {}),
        ("environment", lambda: _from_environment(of_environment())),
        (str(dotenv), lambda: _read_dotenv(dotenv)),
        (str(config), lambda: _read_toml(config) if config else {}),
    ]
    merged: Tree = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    for name, read in reversed(sources):
        try:
            tree = read()
        except SettingsError as error:
            problems.append(str(error))
            continue
        for path, value in _leaves(tree):
            origins[".".join(path)] = name
            _put(merged, path, value)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems += _explain(error, merged, origins)
        raise SettingsError("\n".join(problems)) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return LoadedSettings(settings, origins)


def surroundings(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Each dotted key that is set beside files and flags, with its variable and where that is.

    Raises SettingsError.
    """
    origins = dict.fromkeys(_keys(_read_dotenv(dotenv)), str(dotenv))
    origins |= dict.fromkeys(_keys(_from_environment(of_environment())), "environment")
    return {key: _place(key, origins) for key in origins}


def settings_tree(assignments: list[str]) -> Tree:
    """The tree of `section.key=value` assignments, as `--set` takes them."""
    tree: Tree = {}
    problems: list[str] = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if equals and all(key.split(".")):
            _put(tree, tuple(key.split(".")), value)
        else:
            problems.append(
                f"--set {assignment!r} is not section.key=value; e.g. batching.max_wait_ms=5"
            )
    if problems:
        raise SettingsError("\n".join(problems))
    return tree


def effective_values(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every dotted key with its value as JSON has it, secrets masked; models' own sections only
    where they are set."""
    tree = settings.model_dump(mode="json", exclude={"models"})
    tree["models"] = settings.model_dump(mode="json", exclude_unset=True).get("models", {})
    for path, value in _leaves(tree):
        if value != {}:
            yield ".".join(path), value


def _from_environment(source: Variables) -> Tree:
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
        if name.startswith(ENV_PREFIX.lower()) and name != API_KEY.lower():
            path = tuple(name.removeprefix(ENV_PREFIX.lower()).split(ENV_DELIMITER))
            if path[0] not in Settings.model_fields:
                _put(tree, path, value)
    return tree


def _read_dotenv(path: Path) -> Tree:
    try:
        return _from_environment(of_dotenv(path))
    except OSError as error:
        raise SettingsError(f"cannot read the file: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("the file is not UTF-8", where=str(path)) from None


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


def _keys(tree: Mapping[str, Any]) -> Iterator[str]:
    return (".".join(path) for path, _ in _leaves(tree))


def _put(tree: Tree, path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        child = tree.get(key)
        if not isinstance(child, dict):
            child = tree[key] = {}
        tree = child
    if value != {} or path[-1] not in tree:  # an empty section takes nothing away
        tree[path[-1]] = value


def _explain(error: ValidationError, merged: Tree, origins: Mapping[str, str]) -> Iterator[str]:
    """One line for each wrong setting: key, rule, value, nearest name, source."""
    rules: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        dotted, known = _setting(problem["loc"])
        if not known:
            rule = f"unknown setting{_advice(dotted)}"
        elif problem["type"] in ("model_type", "dict_type"):
            rule = "is a section; set its keys one by one"
        else:
            rule = _own_words(problem["msg"])
            if problem["loc"][-1] != "[key]":
                values[dotted] = _not(dotted, merged)
        rules.setdefault(dotted, []).append(rule)
    for dotted, ways in rules.items():
        inside = (key for key in origins if _lies_in(key, dotted))
        key = dotted if dotted in origins else next(inside, dotted)
        value = values.get(dotted, "")
        yield f"{dotted}: {' or '.join(ways)}{value} (from {_place(key, origins)})"


def _setting(place: Sequence[int | str]) -> tuple[str, bool]:
    """The setting that a problem lies in, and whether there is one of that name.

    A union reports each of its members below the setting's own place.
    """
    kind: Any = Settings
    path: list[str] = []
    for part in map(str, place):
        if part == "[key]":  # a name that does not fit lies in no section of its own
            break
        if isinstance(kind, type) and issubclass(kind, Section):
            path.append(part)
            if part not in kind.model_fields:
                return ".".join(path), False
            kind = kind.model_fields[part].annotation
        elif get_origin(kind) is dict:
            path.append(part)
            kind = get_args(kind)[1]
    return ".".join(path), True


def _own_words(message: str) -> str:
    """pydantic's sentence without what the line says anyway."""
    for subject in ("Input ", "String ", "Tuple "):
        message = message.removeprefix(subject)
    for reason in (", unable", ", exceeded", " after validation"):
        message = message.partition(reason)[0]
    return message


def _advice(dotted: str) -> str:
    nearest = difflib.get_close_matches(dotted, _names(dotted), n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _not(dotted: str, merged: Tree) -> str:
    """The value that was given, unless it is a secret."""
    value: Any = merged
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict) or SECRET.search(dotted):
        return ""
    plain = value is None or isinstance(value, bool)
    shown = json.dumps(value) if plain else repr(value)
    return f", not {shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + '…'}"


def _place(key: str, origins: Mapping[str, str]) -> str:
    """The source of a key as a person would look for it."""
    origin = origins.get(key) or next(
        (where for other, where in origins.items() if _lies_in(other, key)), ""
    )
    if origin in ("environment", ".env"):
        name = variable(key)
        return f"{name} in the {origin}" if origin == "environment" else f"{name} in {origin}"
    return origin


def _lies_in(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.")


def _names(like: str) -> Iterator[str]:
    """Every dotted key and the sections around it, with the operator's name that `like` has."""
    name = next((own for part, own in pairwise(like.split(".")) if part in NAMED), NAME)
    for key, _ in setting_fields():
        yield from accumulate(key.replace(f".{NAME}.", f".{name}.").split("."), "{}.{}".format)
