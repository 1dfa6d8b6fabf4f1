"""Sweeps: how they are written, and the knee of a curve that theory knows."""

from __future__ import annotations

import pytest

from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.slo import Slo, judge
from inferctl.bench.sweep import knee_of, parse_sweep, sweep
from inferctl.errors import BenchError, UsageError
from tests.bench.measured import measurement

SERVICE_MS = 10.0
# So many requests at a time are served as fast as one.
WIDTH = 8


def closed(load: Load) -> Measurement:
    """A server that serves WIDTH requests at a time, and others after them."""
    assert load.users is not None
    latency_ms = SERVICE_MS * max(1.0, load.users / WIDTH)
    return measurement(load, [latency_ms] * int(1000 * load.users / latency_ms))


def users(text: str) -> list[int | None]:
    return [load.users for load in parse_sweep(text)]


def test_a_range_doubles_and_ends_where_it_is_said_to() -> None:
    assert users("users=1..16") == [1, 2, 4, 8, 16]
    assert users("users=3..20") == [3, 6, 12, 20]
    assert users("users=4..4") == [4]
    assert users("users=1,3,9") == [1, 3, 9]


def test_a_range_may_have_steps() -> None:
    rates = [load.rate_per_s for load in parse_sweep("rate=0.5..2:0.5")]

    assert rates == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    "text",
    ["users", "users=8..1", "users=0..8", "users=1.5,2", "rate=1..900:1", "rate=1..9:0", "cores=1"],
)
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no sweep"):
        parse_sweep(text)


def test_the_knee_is_where_the_users_just_keep_the_server_busy() -> None:
    knee = knee_of(sweep(parse_sweep("users=1..64"), closed))

    assert knee is not None
    assert knee.load.users == WIDTH


def test_a_point_that_the_generator_limits_is_no_knee() -> None:
    def limited(load: Load) -> Measurement:
        users = load.users or 0
        return measurement(load, [1.0] * users, generator_cores=0.9 if users > 2 else 0.1)

    knee = knee_of(sweep(parse_sweep("users=1..64"), limited))

    assert knee is not None
    assert knee.load.users == 2


def test_goodput_counts_answers_within_the_limit() -> None:
    def measure(load: Load) -> Measurement:
        return measurement(load, [5.0] * 30 + [70.0] * 10, seconds=2.0)

    (point,) = sweep((Load(users=1),), measure)

    assert judge(point, Slo(99, 50)).within_per_s == 15
    assert point.achieved_per_s == 20
    assert point.load.label == "1 user"


def test_a_single_point_has_no_knee() -> None:
    assert knee_of(sweep((Load(users=8),), closed)) is None


def test_a_load_that_fails_is_a_point_without_figures() -> None:
    def measure(load: Load) -> Measurement:
        if load.users == 4:
            raise BenchError("no request was answered")
        return closed(load)

    found = sweep(parse_sweep("users=1..8"), measure)
    assert [point.failure for point in found] == [
        None, None, "no request was answered", None,
    ]  # fmt: skip
    knee = knee_of(found)
    assert knee is not None
    assert knee.load.users == 8


def test_an_interrupted_sweep_keeps_its_points() -> None:
    def measure(load: Load) -> Measurement:
        if load.users == 4:
            raise KeyboardInterrupt
        return closed(load)

    assert len(sweep(parse_sweep("users=1..64"), measure)) == 2
