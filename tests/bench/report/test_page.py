"""One HTML file that needs nothing else; what a browser makes of it is an e2e test."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.measurement import Load
from inferctl.bench.report.page import to_html
from inferctl.bench.report.record import Report
from tests.bench.made import UNKNOWN, measurement, report, window

SWEEP = report(
    *(
        measurement(window(np.full(100 * users, 4.0 * users)), load=Load(users=users))
        for users in (1, 2, 4, 8)
    )
)
VOID = {"meta", "link", "rect", "line", "polyline", "circle"}


class Elements(HTMLParser):
    """Checks that every element ends where it should, and keeps what is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def headings(made: Report) -> list[str]:
    page = Elements(to_html(made))
    assert page.open == []
    return page.headings


def test_nothing_is_loaded_from_anywhere() -> None:
    page = to_html(SWEEP)
    assert not re.search(r"""(src|href)=["'](?!data:,)""", page)
    assert not re.search(r"@import|url\(|<script|http-equiv=.refresh", page)


def test_there_is_a_plot_for_what_is_known() -> None:
    assert headings(report()) == [
        "Latency distribution", "Latency over time", "Latency by percentile",
        "Where the mean request's time goes", "Batch sizes", "Figures", "What was measured",
    ]  # fmt: skip
    assert headings(SWEEP)[:2] == ["Throughput and latency", "Latency distribution, 8 users"]


@pytest.mark.parametrize("latencies_ms", [[], [5.0], [5.0, 5.0], [0.0, 0.0], [0.0001, 3_000_000.0]])
def test_odd_measurements_are_drawn_too(latencies_ms: list[float]) -> None:
    """None answered, one, all alike, none that took time, and one that took an hour."""
    found = headings(report(measurement(window(latencies_ms, server=UNKNOWN, cores=None))))
    assert found[-1] == "What was measured"
    assert ("Latency distribution" in found) is bool(latencies_ms)


def test_the_checks_that_failed_come_first() -> None:
    cases = (Case("limit", "p50>9ms", True, "5ms"), Case("limit", "p99>5ms", False, "9ms"))
    page = to_html(report(), Ruling(cases))
    assert page.index("p99&gt;5ms") < page.index("p50&gt;9ms")
    assert 'data-status="failed"' in page


def test_what_a_name_smuggles_in_is_text() -> None:
    ruling = Ruling((Case("limit", "<img src=x>", False, "<script>"),))
    page = to_html(report(), ruling)
    assert "<img" not in page
    assert "<script" not in page
