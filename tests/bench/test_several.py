"""Sweeps and searches as they are told, of modelled servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from inferctl.bench.gate.judging import Gate
from inferctl.bench.gate.junit import to_junit
from inferctl.bench.gate.threshold import parse_threshold
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.report import render
from inferctl.bench.report.page import to_html
from inferctl.bench.report.verdict import verdict_of
from inferctl.bench.several import Several, searched, swept
from inferctl.bench.slo import Slo
from inferctl.bench.sweep import parse_sweep
from inferctl.errors import BenchError
from tests.bench.made import report as made_report
from tests.bench.measured import measurement

SLO = Slo(99, 50)
CAPACITY_PER_S = 300.0


class Modelled:
    """Answers in 5 ms up to a capacity, and beyond it too late; a load may interrupt it.

    Beyond `drowned_per_s` it answers nothing.
    """

    def __init__(self, interrupted_at: int = 1000, drowned_per_s: float = 1e9) -> None:
        self.loads: list[Load] = []
        self.interrupted_at, self.drowned_per_s = interrupted_at, drowned_per_s

    def measure(
        self, load: Load, *, windows: int, window_s: float, warmup_s: float,
        until_stable: bool = False,
    ) -> Measurement:  # fmt: skip
        """A window of a hundred requests."""
        if len(self.loads) == self.interrupted_at:
            return Measurement(load, (), stable=False, client_limited=None, interrupted=True)
        self.loads.append(load)
        rate_per_s = load.rate_per_s or 250.0
        if (load.rate_per_s or 0.0) > self.drowned_per_s:
            raise BenchError("no request was answered in 1 s (none came back)", hint="look")
        latency_ms = 5.0 if rate_per_s <= CAPACITY_PER_S else 400.0
        return measurement(load, [latency_ms] * 100, seconds=100 / rate_per_s)


def text_of(several: Several, slo: Slo | None = SLO) -> str:
    """As it is printed: the report of all, with what follows from them."""
    made = made_report(*several.measured, slo=slo)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render(replace(made, notes=[*several.findings, *made.notes])))
    return captured.get()


def test_a_search_begins_with_what_a_few_users_get() -> None:
    bench = Modelled()
    found = searched(bench, SLO, 1.0)

    assert bench.loads[0].users == 16
    assert bench.loads[1].rate_per_s == 200
    assert found.highest is not None
    assert found.highest.rate_per_s == pytest.approx(CAPACITY_PER_S, rel=0.03)
    assert found.highest.confirmed
    assert len(found.measured) == len(bench.loads) - 1
    assert "p99<50ms is kept up to" in text_of(found)


def test_an_interrupted_search_tells_what_it_knows() -> None:
    found = searched(Modelled(interrupted_at=3), SLO, 1.0)

    assert found.interrupted
    assert len(found.measured) == 2
    assert "Interrupted" in text_of(found)


@pytest.mark.parametrize("interrupted_at", [0, 1])
def test_a_search_that_is_interrupted_at_once_has_nothing_to_tell(interrupted_at: int) -> None:
    """In what a few users get, and in the first rate."""
    with pytest.raises(BenchError, match="before anything"):
        searched(Modelled(interrupted_at), SLO, 1.0)


def test_a_search_whose_guess_was_cut_short_ends() -> None:
    class CutShort(Modelled):
        """Interrupted in a window, which is kept."""

        def measure(self, load: Load, **course: Any) -> Measurement:
            return replace(super().measure(load, **course), interrupted=True)

    with pytest.raises(BenchError, match="before anything"):
        searched(CutShort(), SLO, 1.0)


def test_a_rate_that_drowns_the_server_is_one_that_misses_the_limit() -> None:
    """What was found before is told, and why it failed."""
    found = searched(Modelled(drowned_per_s=220.0), SLO, 1.0)

    assert found.highest is not None
    assert found.highest.rate_per_s == pytest.approx(220, rel=0.03)
    assert "nothing was measured: no request was answered in 1 s (none came back); look" in (
        text_of(found)
    )


def test_a_search_says_where_the_generator_may_have_been_the_limit() -> None:
    class Limited(Modelled):
        """Of a generator that is late with what is beyond the capacity."""

        def measure(self, load: Load, **course: Any) -> Measurement:
            found = super().measure(load, **course)
            beyond = (load.rate_per_s or 0.0) > CAPACITY_PER_S
            return replace(found, client_limited="it had no core to itself" if beyond else None)

    told = "Beyond that the load generator may be the limit, and the server do more: it had no core"
    assert told in text_of(searched(Limited(), SLO, 1.0))
    assert "Beyond that" not in text_of(searched(Modelled(), SLO, 1.0))


def rates(interrupted_at: int = 1000, drowned_per_s: float = 1e9) -> Several:
    """A sweep over the capacity."""
    bench = Modelled(interrupted_at, drowned_per_s)
    return swept(
        parse_sweep("rate=100..400:100"),
        lambda load: bench.measure(load, windows=1, window_s=1.0, warmup_s=1.0),
    )


def test_a_sweep_tells_goodput_and_who_keeps_the_limit() -> None:
    found = rates()

    goodputs = [one.goodput for one in made_report(*found.measured, slo=SLO).loads]
    assert [one.is_kept for one in goodputs if one] == [True, True, True, False]
    assert [one.within_per_s for one in goodputs if one] == [100, 200, 300, 0]
    assert found.knee is not None
    assert found.knee.load.rate_per_s == 300
    printed = text_of(found)
    assert "The knee is at 300 requests/s (poisson): 300.0 requests/s, p50 5.00 ms." in printed
    assert "goodput, p99<50ms" in printed
    assert printed.count("requests/s, kept") == 3
    assert "0.0 requests/s, missed" in printed


def test_a_sweep_without_a_limit_has_no_goodput() -> None:
    found = rates()

    assert {one.goodput for one in made_report(*found.measured).loads} == {None}
    assert "goodput" not in text_of(found, slo=None)


def test_an_interrupted_sweep_tells_what_was_over() -> None:
    found = rates(interrupted_at=2)

    assert found.interrupted
    assert len(found.measured) == 2


def test_a_sweep_that_is_interrupted_at_once_has_nothing_to_tell() -> None:
    with pytest.raises(BenchError, match="before anything"):
        rates(interrupted_at=0)


def test_a_load_that_fails_does_not_take_the_others_with_it() -> None:
    """It is told of, its limit is missed, and a gate does not let it pass."""
    found = rates(drowned_per_s=300.0)
    made = made_report(*found.measured, slo=SLO)

    assert not found.interrupted
    assert [len(load.windows) for load in made.loads] == [1, 1, 1, 0]
    assert verdict_of(made).status == "doubtful"
    assert "400 requests/s (poisson): nothing was measured: no request" in text_of(found)
    assert "100.0%: nothing was measured" in text_of(found)
    assert to_html(made)
    for condition in ("errors>0", "error_rate>50%"):
        assert not Gate((parse_threshold(condition),)).judge(made).passed
    (failure,) = ElementTree.fromstring(to_junit(made)).iter("failure")
    assert "no request was answered" in (failure.text or "")


def test_where_every_load_fails_the_first_says_why() -> None:
    with pytest.raises(BenchError, match=r"no request was .*\(none came back\); look"):
        rates(drowned_per_s=0.0)
