"""Windows are put together as if they had been one, and agree when they are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.bench.figures import BatchBucket, ServerFigures, client_figures
from inferctl.bench.measurement import Load, Measurement, Window, agree
from inferctl.bench.together import together
from inferctl.errors import UsageError
from tests.bench.made import UNKNOWN


def window(begun_s: float, latencies_ms: list[float], others: int = 0) -> Window:
    """A second in which a request each began and was answered; one more was refused."""
    begins_s = np.linspace(0.0, 0.9, len(latencies_ms))
    rows = [
        (begun_s + begin, begun_s + begin, begun_s + begin + latency / 1000, 200.0)
        for begin, latency in zip(begins_s, latencies_ms, strict=True)
    ]
    outside = [(begun_s + 99.0, begun_s + 99.0, begun_s + 100.0, 200.0)] * others
    refused = (begun_s, begun_s, begun_s + 0.001, 429.0)
    client = client_figures(np.array([*rows, refused, *outside]), begun_s, begun_s + 1)
    return Window(begun_s, 1.0, client, UNKNOWN, 0.5, np.array(latencies_ms), begins_s)


def test_a_load_is_of_users_or_of_a_rate() -> None:
    """Neither and both are refused."""
    assert Load(users=8).rate_per_s is None
    assert Load(rate_per_s=10.0).arrivals == "poisson"
    for bad in ({}, {"users": 1, "rate_per_s": 1.0}):
        with pytest.raises(UsageError, match="users or a rate"):
            Load(**bad)


def test_windows_that_count_are_one() -> None:
    """Percentiles are of all their latencies, not means of percentiles; the first is left out."""
    windows = (window(2.0, [9e9], 5), window(3.0, [10.0] * 98, 5), window(4.0, [70.0, 80.0], 5))
    whole = Measurement(Load(users=1), windows, False, None, counted_from=1)
    assert whole.duration_s == 2.0
    assert whole.achieved_per_s == 50.0
    assert whole.latencies_ms.tolist() == [10.0] * 98 + [70.0, 80.0]
    figures = whole.client
    assert figures.latency is not None
    assert (figures.latency.p50_ms, figures.latency.p99_ms, figures.latency.max_ms) == (10, 70, 80)
    assert figures.errors == {"429": 2}
    # All windows are of one record, here of 104 requests: 98 answers, a refusal, 5 outside.
    assert figures.outside_window == 104 - 102


def test_no_window_has_figures_of_nothing() -> None:
    """Interrupted before the first was over."""
    nothing = Measurement(Load(users=1), (), False, None, interrupted=True)
    assert nothing.client.latency is None
    assert nothing.achieved_per_s == 0.0
    assert nothing.server == replace(UNKNOWN, requests_by_outcome={}, batches=0,
                                     batch_histogram=[], cpu_s_by_role={})  # fmt: skip


@pytest.mark.parametrize(
    ("windows", "stable"),
    [
        ([[10.0] * 100] * 3, True),
        ([[99.0], [10.0] * 100, [10.0] * 95, [10.5] * 105], True),
        ([[10.0] * 100] * 2, False),
        ([[10.0] * 100, [10.0] * 100, [10.0] * 80], False),
        ([[10.0] * 100, [10.0] * 100, [13.0] * 100], False),
        ([[10.0] * 100, [10.0] * 100, [10.0] * 98 + [13.0] * 2], False),
        ([[10.0] * 100, [], [10.0] * 100], False),
    ],
    ids=["alike", "settled", "two", "throughput", "median", "p99", "nothing"],
)
def test_the_last_three_agree(windows: list[list[float]], stable: bool) -> None:
    """In throughput, median and p99, each within a tenth of the mean."""
    assert agree([window(float(i), latencies) for i, latencies in enumerate(windows)]) is stable


def test_the_server_s_figures_add_up() -> None:
    """Counts are sums; a mean is weighted by what it is of."""
    one = ServerFigures(
        requests_by_outcome={"ok": 300, "overloaded": 1}, batches=100, mean_batch_rows=3.0,
        batch_histogram=[BatchBucket(1, 1, 0), BatchBucket(2, 2, 100)], queue_mean_ms=1.0,
        decode_mean_ms=None, run_mean_ms=4.0, cpu_s_by_role={"worker": 0.5}, cpu_ms_per_request=5.0,
    )  # fmt: skip
    two = ServerFigures(
        requests_by_outcome={"ok": 100}, batches=300, mean_batch_rows=1.0,
        batch_histogram=[BatchBucket(1, 1, 300)], queue_mean_ms=5.0,
        decode_mean_ms=None, run_mean_ms=8.0, cpu_s_by_role={"worker": 0.1, "engine": 0.1},
        cpu_ms_per_request=1.0,
    )  # fmt: skip
    both = together([one, two])
    assert both.requests_by_outcome == {"ok": 400, "overloaded": 1}
    assert (both.batches, both.mean_batch_rows) == (400, 1.5)
    assert both.batch_histogram == [BatchBucket(1, 1, 300), BatchBucket(2, 2, 100)]
    assert (both.queue_mean_ms, both.run_mean_ms, both.decode_mean_ms) == (2.0, 7.0, None)
    assert both.cpu_s_by_role == pytest.approx({"worker": 0.6, "engine": 0.1})
    assert both.cpu_ms_per_request == 4.0
    assert together([one, UNKNOWN]).batches is None
    assert together([one, UNKNOWN]).batch_histogram is None
