"""Far more than can be served, as `python -m benchmarks.shedding` measures it: rows 1 to 6."""

from __future__ import annotations

import math
import os
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.asking import Asking, percentile
from benchmarks.flood import Flood
from benchmarks.heavy import BODY, write_heavy
from benchmarks.shedding import (
    CROWD_CORE,
    PATH,
    Plan,
    Shedding,
    flood,
    measure,
    on_core,
    peak_of,
    served,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.faults,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: make wrk"),
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the crowd needs a core of its own"),
]

SECONDS = 10.0
STORM_CLIENTS = 50


@pytest.fixture(scope="module")
def usual() -> Shedding:
    """Rows of 10 ms, bodies of 10 KB."""
    return measure(Plan(seconds=SECONDS))


@pytest.mark.row(1)
@pytest.mark.parametrize(("times", "share"), [(2, 0.92), (5, 0.92), (10, 0.9)])
def test_goodput_stays(usual: Shedding, times: int, share: float) -> None:
    found = usual.floods[times]
    assert found.goodput >= share * usual.peak
    assert found.in_time >= 0.99
    assert set(found.statuses) <= {200, 429, 504}
    assert found.errors == found.untold == 0


@pytest.mark.row(1)
def test_refusals_are_quick(usual: Shedding) -> None:
    found = usual.floods[10]
    assert found.shed_p50_ms <= 5
    assert found.shed_p99_ms <= 25


@pytest.mark.row(3)
def test_when_the_crowd_is_gone_all_is_as_before(usual: Shedding) -> None:
    assert usual.recovery_s <= 1


@pytest.mark.row(6)
def test_health_is_answered_meanwhile(usual: Shedding) -> None:
    assert {one.status for one in usual.health} == {200}
    assert percentile(usual.health, 99) <= 100


def tenfold(tmp_path: Path, plan: Plan) -> tuple[float, Flood]:
    """Peak, and what ten times the peak leaves."""
    write_heavy(tmp_path, plan.row_ms)
    with on_core(CROWD_CORE), served(tmp_path) as url:
        peak = peak_of(url, plan)
        return peak, flood(url, plan.crowd(10, peak), plan.seconds)


@pytest.mark.row(2)
def test_large_bodies_of_refused_requests_cost_little(tmp_path: Path) -> None:
    peak, found = tenfold(tmp_path, Plan(body_bytes=100_000, seconds=SECONDS))
    assert found.goodput >= 0.8 * peak
    assert found.shed_p50_ms <= 5


@pytest.mark.row(4)
def test_a_light_model_does_not_collapse(tmp_path: Path) -> None:
    peak, found = tenfold(tmp_path, Plan(row_ms=2, timeout_ms=250, seconds=SECONDS))
    assert found.goodput >= 0.5 * peak
    assert found.errors == 0


@pytest.mark.row(5)
def test_a_storm_of_retries_leaves_goodput(tmp_path: Path, usual: Shedding) -> None:
    plan = Plan(timeout_ms=200, seconds=SECONDS)
    headers = {"X-Request-Timeout-Ms": str(plan.timeout_ms)}
    write_heavy(tmp_path, plan.row_ms)
    with on_core(CROWD_CORE), served(tmp_path) as url:
        peak = peak_of(url, plan)
        body = BODY.ljust(plan.body_bytes)
        storm = Asking(url, [PATH], math.inf, STORM_CLIENTS, body, headers)
        with storm:
            time.sleep(plan.seconds)
    good = sum(one.status == 200 for one in storm.asked)
    assert good / plan.seconds >= 0.9 * peak
    assert usual.floods[10].moments >= 5, "of Retry-After"
