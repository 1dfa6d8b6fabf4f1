"""Every setting as people and editors read it: written once here, from the settings' own models.

A row of docs/settings.md, `.env.example`, a commented TOML file and a JSON Schema say the same.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from inferctl.keys import KeySettings
from inferctl.section import Section
from inferctl.settings import ModelSettings, Settings
from inferctl.variables import ENV_DELIMITER, ENV_PREFIX

# Sections of which there are several, by names of the operator's.
NAMED: dict[str, type[Section]] = {"models": ModelSettings, "api_keys": KeySettings}
# What stands in a key for such a name.
NAME = "NAME"

# What JSON Schema calls otherwise than a person who writes TOML.
KINDS = {"object": "table", "array": "list"}
# What must be given has no default: a place to put it.
PLACEHOLDER = "…"
WIDTH = 100


def setting_fields(
    section: type[BaseModel] = Settings, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key of the tree with its field, in its order; a model's are `models.NAME.…`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from setting_fields(field.annotation, f"{prefix}{name}.")
        elif name in NAMED:
            yield from setting_fields(NAMED[name], f"{prefix}{name}.{NAME}.")
        else:
            yield prefix + name, field


def own_fields() -> Iterator[tuple[str, FieldInfo]]:
    """The same without what a model repeats of the sections that count for all models."""
    for key, field in setting_fields():
        if not (key.startswith("models.") and key.count(".") > 2):
            yield key, field


def variable(key: str) -> str:
    """The environment's name of a dotted key."""
    return ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()


def in_toml(field: FieldInfo) -> str:
    """A default as TOML has it."""
    if field.is_required():
        return json.dumps(PLACEHOLDER, ensure_ascii=False)
    value = field.default
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def allowed(field: FieldInfo) -> list[str]:
    """What a setting may be: words in their quotes, ranges, and else the kind of its value."""
    kind: Any = field.annotation
    if field.metadata:
        kind = Annotated[kind, *field.metadata]
    schema: dict[str, Any] = TypeAdapter(kind).json_schema()
    parts = (schema, *schema.get("anyOf", ()))
    found = [json.dumps(word) for part in parts for word in _words(part)]
    found += [_range(part) for part in parts if "minimum" in part]
    kinds = [part["type"] for part in parts[1:] if part.get("type") in ("boolean", "array")]
    return (found + [KINDS.get(kind, kind) for kind in kinds]) or [
        KINDS.get(schema["type"], schema["type"])
    ]


def _words(part: dict[str, Any]) -> list[str]:
    """What it may be word for word, and of what fits a pattern an example."""
    const = [part["const"]] if "const" in part else []
    return [*part.get("enum", ()), *const, *part.get("examples", ())]


def _range(part: dict[str, Any]) -> str:
    low, high = part["minimum"], part.get("maximum")
    return f"{low:,.12g} … {high:,.12g}" if high is not None else f"{low:,.12g} or more"


def env_text() -> str:
    """`.env.example`: every setting with its default, commented out."""
    lines = [
        f"# {field.description}\n# {variable(key)}={_in_environment(field)}\n"
        for key, field in own_fields()
    ]
    return (
        "# Copy to .env, uncomment what differs; docs/settings.md explains.\n"
        "# Written by `inferctl config env`.\n"
        "# A model's own value: INFERCTL_MODELS__SHAPES__BATCHING__MAX_WAIT_MS=10\n\n"
        + "\n".join(lines)
    )


def _in_environment(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.default
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, tuple) else json.dumps(value)


def toml_text() -> str:
    """A TOML file with every setting, its bounds and its default, which is commented out: what is
    not set here stays what it is elsewhere, and follows a later version's default."""
    sections: dict[str, list[tuple[str, FieldInfo]]] = {}
    for key, field in own_fields():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append((name, field))
    parts = [
        "# Settings of inferctl: uncomment what differs. Stronger than this file: flags, then the",
        "# environment, then .env. What counts in the end: inferctl config show --config FILE",
        "",
    ]
    for section, fields in sections.items():
        parts += [*_header(section), *_entries(fields)]
        if section == f"models.{NAME}":
            parts += [f"# [models.{NAME}.batching], .limits, .runtime: any key of these sections,",
                      "# for this model alone", ""]  # fmt: skip
    return "\n".join(parts)


def _header(section: str) -> list[str]:
    if not section:
        return []
    said = textwrap.wrap(_meaning(section), WIDTH - 2)
    # Of a section with a name of the operator's there is none to begin with.
    return [*(f"# {line}" for line in said), f"{'# ' * (NAME in section)}[{section}]", ""]


def _meaning(section: str) -> str:
    """What the class of a section says of itself, in a line."""
    kind: Any = Settings
    for part in section.split("."):
        if part != NAME:
            kind = NAMED.get(part) or kind.model_fields[part].annotation
    return str(kind.__doc__).partition("\n")[0]


def _entries(fields: Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    for name, field in fields:
        yield from (f"# {line}" for line in textwrap.wrap(field.description or "", WIDTH - 2))
        yield f"# {name} = {in_toml(field)}  # {', '.join(allowed(field))}"
        yield ""


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the TOML file, for editors: keys, bounds, defaults, meanings."""
    schema = Settings.model_json_schema()
    keys = schema["$defs"].pop("KeySettings")
    # A key of the usual kind may be its hash alone.
    schema["$defs"]["KeySettings"] = {"anyOf": [keys["properties"]["hash"], keys]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema} | {
        "title": "Settings of inferctl"
    }
