"""The error tree: the drawing in the docstring and the classes say the same."""

from __future__ import annotations

import re

from inferctl import errors, refusals
from inferctl.errors import InferctlError
from inferctl.refusals import Overloaded, RequestError, Unavailable

LINE = re.compile(r"^ {4}([│├└─ ]*)(\w+) +(\d+|-) +(\w+)(?: +exit (\d+))?$")

Fact = tuple[str, str, str, str]


def drawn() -> dict[str, Fact]:
    """Class → parent, status, code and exit code, as the docstring draws them."""
    facts: dict[str, Fact] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := LINE.match(line):
            lines, name, status, code, exit_code = found.groups()
            depth = len(lines) // 4
            parent = branch[depth - 1] if depth else ""
            branch[depth:] = [name]
            facts[name] = (parent, status, code, exit_code or "")
    return facts


def written() -> dict[str, Fact]:
    """The same facts of the classes; a client sees no exit code, a person no status."""
    facts: dict[str, Fact] = {}
    for name, error in (vars(errors) | vars(refusals)).items():
        if isinstance(error, type) and issubclass(error, InferctlError):
            is_root, is_request = error is InferctlError, issubclass(error, RequestError)
            assert error.__base__ is not None
            facts[name] = (
                "" if is_root else error.__base__.__name__,
                str(error.status) if is_root or is_request else "-",
                error.code,
                "" if is_request else str(error.exit_code),
            )
    return facts


def test_the_drawn_tree_is_the_tree() -> None:
    assert drawn() == written()


def test_codes_are_unique() -> None:
    codes = [code for _, _, code, _ in written().values()]
    assert len(set(codes)) == len(codes)


def test_text_is_what_then_where_then_what_to_do() -> None:
    error = InferctlError("no room", where="/disk", hint="make some")
    assert str(error) == "no room (/disk); make some"


def test_text_without_where_and_hint_is_what() -> None:
    assert str(InferctlError("no room")) == "no room"


def test_busy_errors_say_when_to_come_back() -> None:
    assert Overloaded("full", hint="wait", retry_after_s=3).retry_after_s == 3
    assert Unavailable("draining", hint="wait").retry_after_s == 1
