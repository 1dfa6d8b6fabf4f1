"""Two readings make figures, also when a service began anew between them."""

from __future__ import annotations

from math import inf

import pytest

from inferctl.arena.ledger import CPU_BASE_S, Ledger
from inferctl.top.rates import Figures, ModelFigures, figures_of, quantile
from inferctl.top.reading import Histogram
from tests.top.service import Service

# A tenth up to 1 ms, nine tenths up to 10 ms, the rest above.
SPREAD = Histogram({0.001: 10, 0.01: 90, inf: 100})


def mood(figures: Figures) -> ModelFigures:
    return figures.models["mood"]


def test_rates_are_of_the_time_between() -> None:
    service = Service()
    service.answers(times=1000, latency_s=0.5)
    service.runs(64)
    before = service.reading(at_s=10)
    service.answers(times=20, latency_s=0.002)
    service.answers("malformed", times=4, latency_s=0.002)
    service.answers("overloaded", times=2, latency_s=0.002)
    service.counts("inferctl_shed_total", 2, "queue")
    service.counts("inferctl_dropped_total", 6, "expired")
    service.counts("inferctl_in_flight", 50)
    service.runs(2, 4)
    figures = figures_of(before, service.reading(at_s=12))
    assert figures.seconds == 2
    told = mood(figures)
    assert (told.requests_per_s, told.errors_per_s, told.lost_per_s) == (13, 2, 4)
    assert told.p99_ms is not None
    assert told.p99_ms <= 2.5, "what was slow was before"
    assert told.batch_rows == 3
    assert (told.in_flight, told.in_flight_share) == (50, 0.25)


def test_of_one_reading_there_are_no_rates() -> None:
    service = Service()
    service.answers(times=5)
    service.counts("inferctl_queue_rows", 3)
    figures = figures_of(None, service.reading())
    told = mood(figures)
    assert (told.requests_per_s, told.p50_ms, told.batch_rows, told.queue_rows) == (
        None, None, None, 3,
    )  # fmt: skip
    assert {process.cores for process in figures.processes.values()} == {None}


def test_of_a_service_that_began_anew_only_its_own_life_counts() -> None:
    service = Service()
    service.answers(times=1000)
    service.runs(9)
    service.counts("inferctl_shed_total", 7, "queue")
    service.ledger.blocks[Ledger.ENGINE].state(CPU_BASE_S).set(90)
    before = service.reading(at_s=10)
    service.is_started_again()
    service.answers(times=3)
    service.ledger.blocks[Ledger.ENGINE].state(CPU_BASE_S).set(0.5)
    figures = figures_of(before, service.reading(at_s=15))
    assert figures.seconds == 1
    told = mood(figures)
    assert (told.requests_per_s, told.errors_per_s, told.lost_per_s) == (3, 0, 0)
    assert told.batch_rows is None
    assert figures.processes["engine"].cores == 0.5


def test_a_model_that_was_not_there_counts_from_zero() -> None:
    service = Service()
    before = service.reading(at_s=0)
    service.ledger.give_place(1, "new", 1)
    service.block.cell("inference_requests_total", 1, "ok").add(6)
    assert figures_of(before, service.reading(at_s=2)).models["new"].requests_per_s == 3


@pytest.mark.parametrize(
    ("share", "seconds"), [(0.05, 0.0005), (0.1, 0.001), (0.5, 0.0055), (0.9, 0.01), (0.99, 0.01)]
)
def test_quantiles_are_estimated_as_prometheus_does(share: float, seconds: float) -> None:
    assert quantile(SPREAD, share) == pytest.approx(seconds)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile(Histogram(), 0.5) is None
    assert quantile(Histogram({0.1: 0, inf: 0}), 0.5) is None
