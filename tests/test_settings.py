"""Settings: bounds of every field, sections frozen, a model's own laid over the global ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inferctl.errors import SettingsError
from inferctl.section import Section
from inferctl.settings import ServerSettings, Settings
from inferctl.sources import load_settings

ABSENT = Path("absent.env")

WRONG_TYPE: dict[str, list[object]] = {
    "integer": ["three", "", 1.5, [], True, None],
    "number": ["three", "", [], True, None, float("nan"), float("inf")],
    "boolean": ["perhaps", "", 2, None],
    "string": [5, [], None, "a\0b"],
    "array": [5],
    # Sections by names of the operator's; what is in them is tested with the sources.
    "object": [],
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)


def sections() -> dict[str, type[Section]]:
    """The sections at the top of the tree."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def fields() -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Section, key and the forms its value may take, from the JSON schema."""
    for section, kind in sections().items():
        for key, schema in kind.model_json_schema()["properties"].items():
            yield section, key, schema.get("anyOf", [schema])


def refused() -> Iterator[tuple[str, str, object]]:
    """Values just outside the bounds, or of another type, of every field."""
    for section, key, forms in fields():
        for form in forms:
            if "minimum" in form:
                yield section, key, form["minimum"] - 1
            if "exclusiveMinimum" in form:
                yield section, key, form["exclusiveMinimum"]
            if "maximum" in form:
                yield section, key, form["maximum"] + 1
            if "minLength" in form:
                yield section, key, "x" * (form["minLength"] - 1)
            if "enum" in form or "const" in form:
                may_be_true = any(other.get("type") == "boolean" for other in forms)
                wrong = ("neither", "", None) if may_be_true else ("neither", "", None, True)
                yield from ((section, key, value) for value in wrong)
            elif len(forms) == 1:
                for value in WRONG_TYPE[form["type"]]:
                    yield section, key, value


def accepted() -> Iterator[tuple[str, str, object]]:
    """The bounds themselves and every listed word."""
    for section, key, forms in fields():
        for form in forms:
            for bound in ("minimum", "maximum", "const"):
                if bound in form:
                    yield section, key, form[bound]
            for word in form.get("enum", ()):
                yield section, key, word


@pytest.mark.row(115)
@pytest.mark.parametrize(("section", "key", "value"), list(refused()))
def test_a_value_that_does_not_fit_is_refused_by_name(
    section: str, key: str, value: object
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({section: {key: value}}, dotenv=ABSENT)
    assert str(caught.value).startswith(f"{section}.{key}: ")
    assert "should" in str(caught.value)
    assert str(caught.value).endswith("(from flag)")
    assert "\n" not in str(caught.value)


def misspelt() -> Iterator[tuple[str, str, str]]:
    """A name that is nearly that of a field, for every field."""
    for section, key, _ in fields():
        yield section, key, key[:-1]


@pytest.mark.row(115)
@pytest.mark.parametrize(("section", "key", "nearly"), list(misspelt()))
def test_a_name_that_is_nearly_one_is_refused_with_that_one(
    section: str, key: str, nearly: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"INFERCTL_{section}__{nearly}".upper()
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings(dotenv=ABSENT)
    assert str(caught.value) == (
        f"{section}.{nearly}: unknown setting; did you mean {section}.{key}?"
        f" (from {variable} in the environment)"
    )


@pytest.mark.row(115)
def test_all_problems_are_told_at_once() -> None:
    tree: dict[str, dict[str, object]] = {}
    for section, key, value in refused():
        tree.setdefault(section, {})[key] = value
        tree[section]["quite-another"] = 1
    with pytest.raises(SettingsError) as caught:
        load_settings(tree, dotenv=ABSENT)
    told = [line.partition(": ")[0] for line in str(caught.value).split("\n")]
    assert sorted(told) == sorted(f"{section}.{key}" for section in tree for key in tree[section])


@pytest.mark.parametrize(("section", "key", "value"), list(accepted()))
def test_the_bounds_themselves_are_accepted(section: str, key: str, value: object) -> None:
    settings = load_settings({section: {key: value}}, dotenv=ABSENT).settings
    assert getattr(getattr(settings, section), key) == value


def test_every_number_has_a_lower_bound() -> None:
    for section, key, forms in fields():
        for form in forms:
            if form.get("type") in {"integer", "number"}:
                assert {"minimum", "exclusiveMinimum"} & form.keys(), f"{section}.{key}"


def test_every_field_is_described() -> None:
    for name, kind in sections().items():
        for key, field in kind.model_fields.items():
            assert field.description, f"{name}.{key}"


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServerSettings().port = 9


def test_a_models_own_keys_are_laid_over_the_global_ones() -> None:
    settings = Settings.model_validate(
        {
            "batching": {"max_wait_ms": 5, "max_batch_rows": 16},
            "limits": {"max_pixels": 9},
            "models": {
                "shapes": {
                    "default": True,
                    "batching": {"max_wait_ms": 10},
                    "runtime": {"device": "cpu"},
                }
            },
        }
    )
    own = settings.for_model("shapes")
    assert own.default
    assert (own.batching.max_wait_ms, own.batching.max_batch_rows) == (10, 16)
    assert own.limits.max_pixels == 9
    assert own.runtime.device == "cpu"


def test_a_models_own_default_value_still_wins_over_the_global_one() -> None:
    settings = Settings.model_validate(
        {
            "batching": {"max_wait_ms": 5},
            "models": {"shapes": {"batching": {"max_wait_ms": 0}}},
        }
    )
    assert settings.for_model("shapes").batching.max_wait_ms == 0


def test_a_model_without_a_section_has_the_global_settings() -> None:
    settings = Settings.model_validate({"limits": {"max_queue_rows": 7}})
    other = settings.for_model("other")
    assert not other.default
    assert other.limits == settings.limits
    assert other.batching == settings.batching
    assert other.runtime == settings.runtime


def test_the_tree_itself_never_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERCTL_SERVER__PORT", "9")
    assert Settings().server.port == 8000
