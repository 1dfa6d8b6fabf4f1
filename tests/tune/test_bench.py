"""The bench of a candidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferctl.errors import UsageError
from inferctl.tune.bench import opener
from inferctl.tune.late import Late
from inferctl.tune.plan import Plan
from inferctl.tune.serving import START_LIMIT_S


def test_a_server_that_does_not_answer_is_that_candidates_fault(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended, and the search goes on."""
    limits_s, ended = [], []

    @contextmanager
    def serving(tree: object, limit_s: float) -> Iterator[SimpleNamespace]:
        limits_s.append(limit_s)
        try:
            yield SimpleNamespace(url="http://127.0.0.1:1")
        finally:
            ended.append(tree)

    monkeypatch.setattr("inferctl.tune.bench.Serving", serving)
    for limit_s in (5.0, 1000.0):
        with (
            pytest.raises(Late, match="cannot be asked"),
            opener(plan)(plan.space().base, limit_s),
        ):
            pass

    assert limits_s == [5.0, START_LIMIT_S]
    assert len(ended) == 2


def test_inputs_that_are_not_there_are_told_of_before_anything_is_served(plan: Plan) -> None:
    with pytest.raises(UsageError, match="no such folder of images"):
        opener(replace(plan, data=Path("/nowhere")))
