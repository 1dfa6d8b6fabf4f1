"""The result as a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inferctl.errors import OutputError
from inferctl.tune.page import to_html, write_page
from inferctl.tune.plan import Plan
from inferctl.tune.run import tune
from tests.tune.conftest import Benches


def test_the_page_has_the_verdict_the_frontier_and_the_settings(plan: Plan) -> None:
    page = to_html(tune(plan, Benches(lambda one: 130.0 if one.batch == 4 else 100.0).open))

    assert "Take batch 4" in page
    assert '<circle class="chosen"' in page
    assert "max_batch_rows = 4" in page
    assert page.index("Take batch 4") < page.index("<svg") < page.index("<table")


def test_nothing_is_loaded_from_anywhere(plan: Plan) -> None:
    page = to_html(tune(plan, Benches().open))

    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "url(" not in page
    assert "<script" not in page


def test_a_page_without_a_winner_says_so(plan: Plan) -> None:
    page = to_html(tune(plan, Benches(lambda one: 0.0).open))

    assert 'data-status="failed"' in page
    assert "Nothing that was measured keeps" in page


def test_a_page_that_cannot_be_written_leaves_nothing(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write the page"):
        write_page(tune(plan, Benches().open), tmp_path / "missing" / "page.html")
    write_page(tune(plan, Benches().open), tmp_path / "page.html")

    assert [file.name for file in tmp_path.glob("*.html")] == ["page.html"]
