"""`inferctl top`: flags that do not fit."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.errors import UsageError


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "standard output is no terminal"),
        (("--json",), "this is one reading"),
        (("--interval", "soon"), "'soon' is no duration"),
        (("--interval", "0.01s"), "shorter than 0.1 s"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["top", *flags])
    assert isinstance(result.exception, UsageError)
    assert result.exception.what == said
    assert result.stdout == ""
