"""Requests are to be sent when the load says, by whichever process."""

from __future__ import annotations

import itertools
import statistics
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
import pytest
from arrivals import arrivals, read_shape, share_at, times


def until(times: itertools.chain[float], end_s: float) -> list[float]:
    """Those before a time."""
    return list(takewhile(lambda time_s: time_s < end_s, times))


def test_constant_arrivals_are_even() -> None:
    """The first is a gap after the beginning, and a million later there is no drift."""
    assert list(islice(arrivals("constant", 4.0), 4)) == [0.25, 0.5, 0.75, 1.0]
    assert next(islice(arrivals("constant", 1000.0), 10**6 - 1, None)) == pytest.approx(1000.0)


def test_poisson_arrivals_have_exponential_gaps() -> None:
    """Mean and deviation of the gaps are alike, and they are the same ones every time."""
    found = list(islice(arrivals("poisson", 100.0), 20_000))
    gaps_s = np.diff(found)
    assert gaps_s.mean() == pytest.approx(0.01, rel=0.03)
    assert gaps_s.std() == pytest.approx(0.01, rel=0.03)
    assert statistics.median(gaps_s) == pytest.approx(0.01 * np.log(2), rel=0.05)
    assert found[:5] == list(islice(arrivals("poisson", 100.0), 5))


def test_a_ramp_and_a_spike_offer_what_is_under_them() -> None:
    """A rate that grows from 0 to 100 in 10 s is 500 requests, half of them in the last 3 s."""
    ramp = until(arrivals("constant", 100.0, read_shape("0:0,10:1")), 10.0)
    assert len(ramp) == pytest.approx(500, abs=1)
    assert sum(time_s >= 10 / np.sqrt(2) for time_s in ramp) == pytest.approx(250, abs=1)
    spike = until(arrivals("constant", 100.0, read_shape("0:0.1,4:0.1,4:1,5:1,5:0.1")), 10.0)
    assert [sum(begin <= time_s < begin + 1 for time_s in spike) for begin in (3, 4, 5)] == [
        pytest.approx(10, abs=1), pytest.approx(100, abs=1), pytest.approx(10, abs=1),
    ]  # fmt: skip


def test_a_load_that_stays_at_nothing_ends() -> None:
    """Down from 10 to 0 in 2 s are 10 requests."""
    assert len(list(arrivals("constant", 10.0, read_shape("0:1,2:0")))) == pytest.approx(10, abs=1)
    assert list(times([1.0], 10.0, [(0.0, 0.0)])) == []


def test_shapes_are_read_and_refused() -> None:
    """Times ascend from 0, shares are not negative."""
    assert share_at(read_shape("0:0,10:1"), 2.5) == 0.25
    assert share_at(read_shape("0:0,10:1"), 11.0) == 1.0
    assert share_at(read_shape("0:1"), 5.0) == 1.0
    for bad in ("1:1", "0:1,2:1,1:1", "0:-1", "0", ""):
        with pytest.raises(ValueError, match=r"."):
            read_shape(bad)


def test_processes_share_arrivals_without_a_word() -> None:
    """Each takes every third of the same times: none is missing, none is taken twice."""
    parts = [islice(arrivals("poisson", 50.0), index, None, 3) for index in range(3)]
    taken = sorted(itertools.chain(*(islice(part, 10) for part in parts)))
    assert taken == list(islice(arrivals("poisson", 50.0), 30))


def test_a_replay_repeats(tmp_path: Path) -> None:
    """A mean gap lies between its last and its first; a single time comes every second."""
    np.array([5.0, 5.5, 7.0]).tofile(tmp_path / "log")
    found = list(islice(arrivals(str(tmp_path / "log"), 9.9), 5))
    assert found == [0.0, 0.5, 2.0, 3.0, 3.5]
    np.array([5.0]).tofile(tmp_path / "one")
    assert list(islice(arrivals(str(tmp_path / "one"), 9.9), 3)) == [0.0, 1.0, 2.0]
