"""Scales and ticks are round, and stay in the picture."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferctl.bench.report import svg

VALUES = st.floats(1e-4, 1e7)


def test_a_scale_lays_its_ends_on_the_edges() -> None:
    x = svg.across(0, 10)
    assert (x.at(0), x.at(10)) == (svg.LEFT, svg.WIDTH - svg.RIGHT)
    assert x.at(5) == pytest.approx((svg.LEFT + svg.WIDTH - svg.RIGHT) / 2)
    assert x.at(99) == x.at(10), "what is outside lies on the edge"
    y = svg.upwards(1, 100, log=True)
    assert y.at(1) == svg.HEIGHT - svg.BOTTOM
    assert svg.TOP < y.at(100) < svg.TOP + 40


def test_a_logarithmic_scale_shows_ratios() -> None:
    x = svg.across(1, 100, log=True)
    assert x.at(10) == pytest.approx((x.at(1) + x.at(100)) / 2)
    assert x.ticks() == [1, 2, 5, 10, 20, 50, 100]


def test_ticks_are_round() -> None:
    assert svg.across(0, 10).ticks() == [0, 2, 4, 6, 8, 10]
    assert svg.across(0, 10_000, log=True).low == svg.SMALLEST


@given(VALUES, VALUES, st.booleans())
def test_any_two_values_make_a_scale_with_some_ticks(low: float, high: float, log: bool) -> None:
    """Alike or the wrong way round, too: all values may be one."""
    for scale in (svg.across(low, high, log=log), svg.upwards(low, high, log=log)):
        ticks = scale.ticks()
        assert 1 <= len(ticks) <= 14
        assert all(math.isfinite(scale.at(tick)) for tick in ticks)


def test_words_in_a_picture_are_words() -> None:
    for drawn in (svg.text(0, 0, "<b>", "tick"), svg.box(0, 0, 1, 1, "fill", "<b>")):
        assert "&lt;b&gt;" in drawn
        assert "<b>" not in drawn
