"""Done when: the HTML report opens in Chromium without a complaint, the verdict in sight.

Leaves reports/bench-light.png and bench-dark.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from docs.generate import REPOSITORY
from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.report.page import to_html
from tests.bench.made import measurement, report, window
from tests.e2e.browser import Browser

pytestmark = pytest.mark.e2e

SCREENSHOTS = REPOSITORY / "reports"
RULING = Ruling(
    (
        Case("limit", "p99>50ms", False, "61ms at 32 users"),
        Case("limit", "error_rate>0.1%", True, "0% at 32 users"),
    )
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    running = Browser()
    yield running
    running.quit()


def load(users: int) -> Measurement:
    """A queue that grows with the users, a stall in it."""
    random = np.random.default_rng(users)
    windows = []
    for number in range(6):
        latencies = (4 + users) * random.lognormal(0, 0.3, min(90 * users, 700))
        latencies[: len(latencies) // 40] *= 5 if number == 3 else 1
        windows.append(window(latencies, 2.0 + number))
    return measurement(*windows, load=Load(users=users))


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The report of a sweep; the browser has nothing to complain of when the test ends."""
    path = tmp_path / "bench.html"
    made = report(*map(load, (1, 2, 4, 8, 16, 32)))
    path.write_text(to_html(made, RULING), encoding="utf-8")
    browser.complaints()
    browser.resize(1280, 900)
    browser.open(path.as_uri())
    yield browser
    assert browser.complaints() == []


def test_the_verdict_is_read_in_the_first_screen(page: Browser) -> None:
    verdict = page.one(".verdict")
    assert verdict.rect["y"] + verdict.rect["height"] < 900
    assert "FAILED" in page.one(".status").text
    assert "at most" in page.one(".headline").text
    assert "p99>50ms: 61ms at 32 users" in verdict.text
    key = page.one(".key")
    assert key.rect["y"] + key.rect["height"] < 900
    assert "requests per second" in key.text


def test_every_plot_has_room_and_something_in_it(page: Browser) -> None:
    pictures = page.all("figure > svg")
    assert len(pictures) == 6
    for picture in pictures:
        assert picture.rect["width"] > 400
        assert picture.rect["height"] > 100
    for shape in (".line", ".fill", ".tick"):
        assert page.all(f"figure > svg {shape}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_by_day_and_by_night(page: Browser, scheme: str) -> None:
    """Words stand out from what is behind them."""
    page.prefer(scheme)
    ground, ink = (
        sum(int(part) for part in page.one("body").value_of_css_property(name)[5:].split(",")[:3])
        for name in ("background-color", "color")
    )
    assert (ground > 600 and ink < 200) if scheme == "light" else (ground < 200 and ink > 600)
    page.screenshot(SCREENSHOTS / f"bench-{scheme}.png")


def test_it_fits_a_telephone(page: Browser) -> None:
    """Tables and plots are scrolled, each by itself."""
    page.resize(400, 800)
    assert page.wider_than(400, ".part *, figure *") == []
