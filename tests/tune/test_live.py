"""Whose fault it is where nothing can be measured, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import pytest

from inferctl.bench.measurement import Bench, Load, Measurement, NothingAnswered
from inferctl.errors import BenchError, StartError
from inferctl.tune.late import Late
from inferctl.tune.live import Live
from inferctl.tune.race import Spent
from inferctl.tune.space import Candidate
from inferctl.tune.state import State, open_state
from tests.bench.measured import measurement
from tests.tune.modelled import BASE, SLO

CRASHED = "the load generator ended with code 1: gevent"


@dataclass
class Failing:
    """A bench whose measurements, or whose server, fail; `limits_s` are the times that it got."""

    measuring: Exception | None = None
    opening: Exception | None = None
    limits_s: list[float] = field(default_factory=list)

    @contextmanager
    def open(self, candidate: Candidate, limit_s: float) -> Iterator[Bench]:
        self.limits_s.append(limit_s)
        if self.opening:
            raise self.opening
        yield self

    def measure(self, load: Load, **course: object) -> NoReturn:
        assert self.measuring
        raise self.measuring


def new_state(folder: Path) -> State:
    return open_state(folder, "net", {}, fresh=False)


def live_of(failing: Failing, folder: Path, seconds: float = 60.0) -> Live:
    return Live(failing.open, SLO, new_state(folder), time.monotonic() + seconds, 5.0)


def test_a_server_that_answers_nothing_carries_nothing(tmp_path: Path) -> None:
    live = live_of(Failing(NothingAnswered("no request was answered in 2 s")), tmp_path)

    assert live(BASE, 100.0).within_per_s == 0
    assert new_state(tmp_path).measured == 1


def test_the_generators_fault_is_not_the_candidates(tmp_path: Path) -> None:
    live = live_of(Failing(BenchError(CRASHED)), tmp_path)

    with pytest.raises(BenchError, match="the load generator ended"):
        live(BASE, 100.0)
    assert new_state(tmp_path).measured == 0


def test_a_server_that_ends_at_its_start_carries_nothing(tmp_path: Path) -> None:
    live = live_of(Failing(opening=StartError("a candidate does not start")), tmp_path)

    assert live(BASE, 100.0).within_per_s == 0
    assert new_state(tmp_path).measured == 1


def test_of_a_server_that_is_late_nothing_is_kept(tmp_path: Path) -> None:
    """It is not waited for a second time."""
    failing = Failing(opening=Late("a candidate is not ready"))
    live = live_of(failing, tmp_path)

    assert live(BASE, 100.0).within_per_s == 0
    assert live(BASE, 90.0).within_per_s == 0
    assert new_state(tmp_path).measured == 0
    assert len(failing.limits_s) == 1


def test_a_server_that_was_measured_and_answers_nothing_is_started_anew(tmp_path: Path) -> None:
    """It may have died of what it was asked before."""
    opened: list[Candidate] = []
    live = live_of(Failing(), tmp_path)

    @dataclass
    class Mortal:
        """Answers one load."""

        lives: int = 1

        def measure(self, load: Load, **course: object) -> Measurement:
            self.lives -= 1
            if self.lives < 0:
                raise NothingAnswered("no request was answered in 2 s")
            return measurement(load, [10.0])

    @contextmanager
    def anew(candidate: Candidate, limit_s: float) -> Iterator[Bench]:
        opened.append(candidate)
        yield Mortal()

    live.open = anew
    assert live(BASE, 100.0).within_per_s > 0
    assert live(BASE, 90.0).within_per_s > 0
    assert opened == [BASE, BASE]


def test_a_start_has_the_time_that_is_left(tmp_path: Path) -> None:
    failing = Failing(opening=Late("a candidate is not ready"))
    live = live_of(failing, tmp_path, seconds=30.0)
    live(BASE, 100.0)

    assert 29.0 < failing.limits_s[0] <= 30.0


def test_a_start_that_takes_the_time_that_is_left_ends_the_search(tmp_path: Path) -> None:
    live = live_of(Failing(), tmp_path)

    @contextmanager
    def hangs(candidate: Candidate, limit_s: float) -> Iterator[Bench]:
        live.until_s = time.monotonic()
        raise Late("a candidate is not ready")
        yield

    live.open = hangs
    with pytest.raises(Spent):
        live(BASE, 100.0)
    assert new_state(tmp_path).measured == 0


def test_a_server_whose_end_is_interrupted_is_ended_after_all(tmp_path: Path) -> None:
    """An interruption ends one of them, and the others are found again."""
    ended: list[Candidate] = []
    live = live_of(Failing(), tmp_path)

    @contextmanager
    def opened(candidate: Candidate, limit_s: float) -> Iterator[Bench]:
        try:
            yield Failing()
        finally:
            ended.append(candidate)
            if len(ended) == 1:
                raise KeyboardInterrupt

    live.open = opened
    live.pin(BASE)
    for one in (BASE, replace(BASE, batch=8)):
        live._serve(one)
    with pytest.raises(KeyboardInterrupt):
        live.close()
    assert len(live._running) == 2
    live.close()

    assert ended == [BASE, replace(BASE, batch=8)]
    assert not live._running
