"""The options of several loads: what fits together, and what reaches the generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from inferctl.bench import run
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.plan import Plan
from inferctl.bench.report import Report
from inferctl.bench.target import Served, Target
from inferctl.cli.sweeping import Sweeping
from inferctl.errors import UsageError
from tests.bench.made import INPUTS
from tests.bench.measured import measurement

PLAN = Plan("http://127.0.0.1:1", "m", Load(users=8), 3, 1.0, 0.0)
SWEEP = Sweeping("users=1,2", None, "poisson", is_loaded=False)
SEARCH = Sweeping(None, "p99<50ms", "poisson", is_loaded=False)


class Quick:
    """A bench of a server that answers in 5 ms whatever is offered, up to 300/s."""

    inputs = INPUTS
    target = Target("http://127.0.0.1:1", Served(name="m", version=1, task="tensor"))

    def __init__(self) -> None:
        self.loads: list[Load] = []

    def measure(self, load: Load, **_: object) -> Measurement:
        """A hundred answers."""
        self.loads.append(load)
        rate_per_s = load.rate_per_s or 250.0
        latency_ms = 5.0 if rate_per_s <= 300 else 400.0
        return measurement(load, [latency_ms] * 100, seconds=100 / rate_per_s)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Quick:
    """It is opened instead of a generator."""
    bench = Quick()

    @contextmanager
    def opened(*_: object) -> Iterator[Quick]:
        yield bench

    monkeypatch.setattr(run, "opened", opened)
    return bench


def measured(sweeping: Sweeping) -> Report:
    return sweeping.measure(PLAN, lambda stage, done_s, total_s: None)[1]


@pytest.mark.parametrize(
    ("sweeping", "given", "sentence"),
    [
        (SWEEP, "is_against", "--against measures one load by turns; leave --sweep and --slo out"),
        (SEARCH, "is_against", "--against measures one load by turns"),
        (SEARCH, "is_timed", "a search for the highest rate has times of its own"),
        (SEARCH, "has_baseline", "one window of each rate, which cannot be compared"),
        (Sweeping("users=1", None, "poisson", True), "", "--sweep has loads of its own"),
        (Sweeping("cores=1", None, "poisson", False), "", "'cores=1' is no sweep"),
        (Sweeping(None, "p99", "poisson", True), "", "'p99' is no limit on latency"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_the_load(
    sweeping: Sweeping, given: str, sentence: str
) -> None:
    options = dict.fromkeys(("is_timed", "is_against", "has_baseline"), False)
    with pytest.raises(UsageError, match=sentence):
        sweeping.check(**(options | ({given: True} if given else {})))


def test_a_load_under_a_limit_may_have_times_and_a_baseline() -> None:
    loaded = Sweeping(None, "p99<50ms", "poisson", is_loaded=True)
    loaded.check(is_timed=True, is_against=False, has_baseline=True)
    SWEEP.check(is_timed=True, is_against=False, has_baseline=True)


def test_rates_of_a_sweep_and_of_a_search_arrive_as_asked_for(quick: Quick) -> None:
    measured(Sweeping("rate=100..300:100", None, "constant", is_loaded=False))
    assert quick.loads == [Load(rate_per_s=rate, arrivals="constant") for rate in (100, 200, 300)]
    quick.loads.clear()
    measured(Sweeping(None, "p99<50ms", "constant", is_loaded=False))
    first, *probes = quick.loads
    assert first == Load(users=16)
    assert {load.arrivals for load in probes} == {"constant"}
