"""A limit on latency: how it is written, and when it is kept."""

from __future__ import annotations

import math

import pytest

from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.slo import Slo, is_met, judge, parse_slo
from inferctl.errors import UsageError
from tests.bench.measured import measurement

P99 = Slo(99, 50)
P90 = Slo(90, 50)
LOAD = Load(rate_per_s=10.0)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("p99<50ms", P99),
        (" p99.9 <= 0.2s ", Slo(99.9, 200)),
        ("p50<800us", Slo(50, 0.8)),
    ],
)
def test_a_limit_is_read(text: str, slo: Slo) -> None:
    assert parse_slo(text).percent == slo.percent
    assert parse_slo(text).limit_ms == pytest.approx(slo.limit_ms)


@pytest.mark.parametrize("text", ["p99", "p99<50", "p100<1ms", "p0<5ms", "p99>50ms", "p99<0ms"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no limit on latency"):
        parse_slo(text)


def test_a_limit_is_written_as_it_is_read() -> None:
    assert parse_slo(str(P99)) == P99


def test_a_probe_has_ten_requests_beyond_the_percentile() -> None:
    assert P99.probe_s(100.0) == pytest.approx(10.0)
    assert P99.probe_s(100.0, longest_s=4) == 4


def test_a_probe_is_so_long_that_a_growing_queue_is_seen() -> None:
    assert Slo(50, 200).probe_s(1e6) == 6


def test_what_fails_is_late() -> None:
    judged = judge(measurement(LOAD, [10.0] * 8 + [60.0], failed=1), P90)

    assert (judged.sent, judged.late) == (10, 2)
    assert judged.within_per_s == 8
    assert judged.latency_ms == 60


def test_where_too_many_fail_the_percentile_has_no_end() -> None:
    assert judge(measurement(LOAD, [10.0] * 8, failed=2), P90).latency_ms == math.inf


def test_the_limit_is_kept_while_no_more_are_late_than_may_be() -> None:
    kept = judge(measurement(LOAD, [10.0] * 9 + [60.0]), P90)
    missed = judge(measurement(LOAD, [10.0] * 8 + [60.0] * 2), P90)

    assert is_met([kept], P90)
    assert not is_met([missed], P90)
    assert not is_met([kept, missed], P90), "together three of twenty are late"


def test_what_the_generator_was_late_by_is_in_the_latencies() -> None:
    """So a limit that was kept was kept."""
    found = judge(measurement(LOAD, [1.0], client_limited="late", generator_cores=0.9), P90)

    assert is_met([found], P90)
    assert found.client_limited == "late"
    assert found.is_generator_full
    assert not judge(measurement(LOAD, [1.0]), P90).is_generator_full


def test_a_load_that_failed_outweighs_one_that_kept_the_limit() -> None:
    kept = judge(measurement(LOAD, [1.0] * 500), P90)
    failed = judge(Measurement(LOAD, (), False, None, failure="drowned"), P90)

    assert failed.rate_per_s == 10
    assert not is_met([kept, failed], P90)


def test_nothing_keeps_no_limit() -> None:
    assert not is_met([], P90)
    assert not is_met([judge(measurement(LOAD, []), P90)], P90)
