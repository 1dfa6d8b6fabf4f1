"""What is made of a crowd's answers, and of onlookers'."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.asking import Asked, percentile
from benchmarks.flood import parse_flood
from benchmarks.heavy import NAME, write_heavy
from benchmarks.shedding import PAUSE_S, Plan, recovered
from inferctl.bundles.repository import find_bundles

LINE = (
    'FLOOD {"seconds":2.0,"shed_p50_us":1500,"shed_p99_us":2500,"p50_us":1600,"p99_us":40000,'
    '"errors":0,"untold":1,"moments":7,"statuses":{"200":180,"429":1800,"504":20}}'
)


def test_a_flood_is_what_the_script_says() -> None:
    flood = parse_flood(LINE)
    assert (flood.offered, flood.goodput, flood.in_time) == (1000, 90, 0.9)
    assert (flood.shed_p50_ms, flood.shed_p99_ms, flood.p99_ms) == (1.5, 2.5, 40)
    assert (flood.errors, flood.untold, flood.moments) == (0, 1, 7)


@pytest.mark.parametrize("times", [2, 5, 10])
def test_a_crowd_asks_so_often_though_some_of_it_waits(times: int) -> None:
    crowd = Plan(timeout_ms=500).crowd(times, 50)
    assert crowd.connections / (crowd.pause_ms / 1000) == pytest.approx(times * 50, rel=0.02)
    assert crowd.pause_ms >= 1000 * PAUSE_S
    assert crowd.connections > 50 * (crowd.pause_ms + 500) / 1000


def asked(*took_ms: float, status: int = 200) -> list[Asked]:
    """One every tenth of a second."""
    return [Asked(number / 10, each, status) for number, each in enumerate(took_ms)]


def test_percentiles_are_of_good_answers() -> None:
    assert percentile(asked(1, 2, 3, 4), 50) == 2
    assert percentile(asked(1, 2, 3, 4), 99) == 4
    assert percentile(asked(1) + asked(2, status=429), 50) == math.inf


def test_it_is_as_before_once_it_stays_so() -> None:
    slow_then_quick = asked(*[50] * 5, *[11] * 40)
    assert recovered(slow_then_quick, 0.0, 10) == pytest.approx(0.5)
    assert recovered(asked(*[50] * 45), 0.0, 10) == math.inf


def test_the_heavy_model_is_a_bundle(tmp_path: Path) -> None:
    write_heavy(tmp_path, 0.2)
    assert [bundle.manifest.name for bundle in find_bundles(tmp_path)] == [NAME]
