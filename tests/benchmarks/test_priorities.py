"""What the benchmark of priorities makes of what was asked."""

from __future__ import annotations

import math

import pytest

from benchmarks.asking import Asked
from benchmarks.priorities import Found, preempted, rate, row_of
from inferctl.errors import BenchError
from tests.client.scripted import Answer, scripted


def asked(*took_ms: float, status: int = 200) -> list[Asked]:
    """One every tenth of a second."""
    return [Asked(number / 10, each, status) for number, each in enumerate(took_ms)]


def test_rows_count_when_they_are_answered() -> None:
    assert rate(asked(*[1000] * 30), 1.0, 3.0) == 10


def test_clients_that_are_refused_say_nothing_of_the_rate() -> None:
    with pytest.raises(BenchError, match="429"):
        rate(asked(1) + asked(1, status=429), 0.0, 1.0)


def test_a_line_compares_with_the_idle_server() -> None:
    found = Found(asked(10, 20), asked(15, 30), [80.0], [95.0, 97.0, 96.0], [100.0])
    assert row_of("ours", found, math.nan) == (
        "ours", "10.0 / 20.0", "15.0 / 30.0", "1.50 x", "80.0", "96.0", "100.0", "0.96", "nan",
    )  # fmt: skip


def test_preempted_rows_are_read_from_the_metrics() -> None:
    lines = b"# TYPE inferctl_preempted_rows counter\n"
    lines += b'inferctl_preempted_rows_total{model="heavy"} 145.0\n'
    with scripted(Answer(200, lines), Answer(200, b"")) as server:
        assert preempted(server.url) == 145
        assert math.isnan(preempted(server.url))  # before they were counted
