"""Conditions in a small language, each mistake in a line."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.bench.gate.threshold import parse_threshold
from inferctl.errors import UsageError
from tests.bench.made import UNKNOWN, measurement, report, window

# 1 to 100 ms, 1 request in 101 failed.
LOAD = report(measurement(window(np.arange(1.0, 101.0), errors={"429": 1}))).loads[0]


@pytest.mark.parametrize(
    ("condition", "detail"),
    [
        ("p50>49ms", "50ms"),
        ("p99 >= 99ms", "99ms"),
        ("p99.9>0.09s", "0.09997s"),
        ("p66>65ms", "66.0"),
        ("max>99999us", "1e+05us"),
        ("min<2ms", None),
        ("mean>50ms", "50.5ms"),
        ("throughput<101/s", "100/s"),
        ("throughput<101", "100"),
        ("error_rate>0.9%", "0.9901%"),
        ("error_rate>0.009", "0.0099010"),
        ("errors>0", "1"),
        ("cpu_ms>2", "2.5"),
        ("cpu_ms>2400us", "2,500us"),
        ("queue_ms>1ms", "2ms"),
        ("run_ms>=3ms", "3ms"),
        ("batch_rows<4", "3.25"),
        ("rss>399MiB", "400MiB"),
    ],
)
def test_a_condition_that_holds_fails_the_load(condition: str, detail: str | None) -> None:
    if detail is None:
        with pytest.raises(UsageError, match="no figure is called 'min'"):
            parse_threshold(condition)
        return
    case = parse_threshold(condition).judge(LOAD)
    assert not case.passed
    assert case.name == condition.replace(" ", "")
    assert case.detail.startswith(detail[:4])
    assert case.detail.endswith(" at 8 users")


@pytest.mark.parametrize(
    "condition",
    ["p50>50ms", "p99>100ms", "max>=0.2s", "throughput<=99/s", "error_rate>1%", "rss>1GB"],
)
def test_one_that_does_not_hold_passes(condition: str) -> None:
    assert parse_threshold(condition).judge(LOAD).passed


def test_what_is_not_known_fails() -> None:
    """A gate that says nothing must not let everything pass."""
    load = report(measurement(window([], server=UNKNOWN))).loads[0]
    for condition in ("p99>50ms", "p99.9>50ms", "cpu_ms>5", "rss>1GB", "mean>1ms"):
        case = parse_threshold(condition).judge(load)
        assert (case.passed, case.detail) == (False, "not known at 8 users")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("p99", r"'p99' is no condition \(--fail-if\); write p99>50ms"),
        ("p99=50ms", "is no condition"),
        ("p99>-1ms", "is no condition"),
        ("p99>1e9ms", "has the unit 'e9ms'"),
        ("", "is no condition"),
        ("p99>50", r"p99 needs a unit \(--fail-if p99>50\); write one of ns, us, ms, s"),
        ("p99>50%", "p99 has the unit '%'"),
        ("p100>5ms", "no figure is called 'p100'"),
        ("p0>5ms", "no figure is called 'p0'"),
        ("latency>5ms", "known are p50, p90, p95, p99, p99.9, mean"),
        ("error_rate>120%", "never above 100%"),
        ("error_rate>5", "never above 100%"),
        ("errors>1ms", "write a number alone"),
    ],
)
def test_mistakes_are_one_line(condition: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        parse_threshold(condition)
    assert "\n" not in str(refused.value)
