"""Latencies and server figures agree with cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.bench.exposition import read_metrics
from inferctl.bench.figures import (
    BatchBucket,
    client_figures,
    nearest_rank,
    order_statistic,
    server_figures,
)
from inferctl.bench.gpus import GpuFigures

BEFORE = """
inference_requests_total{model="m",outcome="ok"} 100
inference_requests_total{model="m",outcome="overloaded"} 7
inference_requests_total{model="other",outcome="ok"} 5
inference_batch_size_bucket{model="m",le="1"} 10
inference_batch_size_bucket{model="m",le="2"} 10
inference_batch_size_bucket{model="m",le="4"} 30
inference_batch_size_bucket{model="m",le="8"} 30
inference_batch_size_bucket{model="m",le="+Inf"} 30
inference_batch_size_sum{model="m"} 70
inference_batch_size_count{model="m"} 30
inferctl_queue_seconds_sum{model="m"} 1.0
inferctl_queue_seconds_count{model="m"} 100
inferctl_process_cpu_seconds_total{role="worker"} 10
inferctl_process_cpu_seconds_total{role="engine"} 20
inference_latency_seconds_sum{model="m"} 3.0
inference_latency_seconds_count{model="m"} 107
inferctl_failed_seconds_total{model="m"} 1.0
inferctl_postprocess_seconds_sum{model="m"} 0.5
inferctl_postprocess_seconds_count{model="m"} 100
inferctl_process_resident_memory_bytes{role="engine"} 7
inferctl_gpu_utilization_ratio{gpu="0",uuid="u"} 0.5
inferctl_gpu_memory_used_bytes{gpu="0",uuid="u"} 900
"""
AFTER = """
inference_requests_total{model="m",outcome="ok"} 300
inference_requests_total{model="m",outcome="overloaded"} 7
inference_requests_total{model="other",outcome="ok"} 5000
inference_batch_size_bucket{model="m",le="1"} 20
inference_batch_size_bucket{model="m",le="2"} 20
inference_batch_size_bucket{model="m",le="4"} 80
inference_batch_size_bucket{model="m",le="8"} 80
inference_batch_size_bucket{model="m",le="+Inf"} 80
inference_batch_size_sum{model="m"} 270
inference_batch_size_count{model="m"} 80
inferctl_queue_seconds_sum{model="m"} 1.5
inferctl_queue_seconds_count{model="m"} 300
inferctl_process_cpu_seconds_total{role="worker"} 10.4
inferctl_process_cpu_seconds_total{role="engine"} 20.6
inference_latency_seconds_sum{model="m"} 7.0
inference_latency_seconds_count{model="m"} 307
inferctl_failed_seconds_total{model="m"} 3.0
inferctl_postprocess_seconds_sum{model="m"} 0.6
inferctl_postprocess_seconds_count{model="m"} 300
inferctl_process_resident_memory_bytes{role="engine"} 1024
inferctl_gpu_utilization_ratio{gpu="0",uuid="u"} 1.0
inferctl_gpu_memory_used_bytes{gpu="0",uuid="u"} 800
"""


def test_a_percentile_is_a_measured_value_of_nearest_rank() -> None:
    """Of 20 values p95 is the 19th and p99 the last; of one value each is that one."""
    ordered = np.arange(1.0, 21.0)
    assert [order_statistic(ordered, p) for p in (1, 50, 90, 95, 99, 100)] == [
        1,
        10,
        18,
        19,
        20,
        20,
    ]
    assert order_statistic(np.array([7.5]), 50) == 7.5


def test_a_rank_is_not_missed_by_what_floats_lack() -> None:
    """99.9 % of 1000 are 999, and 29 % of 100 are 29; of few it is one at least."""
    assert [nearest_rank(99.9, 1000), nearest_rank(29.0, 100), nearest_rank(0.001, 3)] == [
        999,
        29,
        1,
    ]
    assert [nearest_rank(99.9, 1001), nearest_rank(100, 7)] == [1000, 7]


def test_requests_count_by_their_beginning_and_with_their_whole_latency() -> None:
    """Begun in the window and ended after it: in. Begun in the warm-up, ended in it: out."""
    requests = np.array(
        [
            [9.9, 9.9, 10.9, 200.0],
            [10.0, 10.0, 10.010, 200.0],
            [11.0, 11.0, 11.030, 201.0],
            [11.9, 14.9, 16.9, 200.0],
            [10.5, 10.5, 10.501, 429.0],
            [10.6, 10.6, 10.601, 429.0],
            [10.7, 10.7, 13.7, 0.0],
            [12.0, 12.0, 12.5, 200.0],
        ]
    )
    figures = client_figures(requests, 10.0, 12.0)
    assert figures.answered == 3
    assert figures.failed == 3
    assert figures.throughput_per_s == 1.5
    assert figures.errors == {"no_answer": 1, "429": 2}
    assert figures.outside_window == 2
    assert figures.latency is not None
    assert figures.latency.p50_ms == pytest.approx(30.0)
    # Sent three seconds late, and answered two later.
    assert figures.latency.max_ms == pytest.approx(5000.0)
    assert figures.latency.mean_ms == pytest.approx(1680.0)


def test_no_answered_request_has_no_latency() -> None:
    """An empty record and one of errors only."""
    assert client_figures(np.empty((0, 4)), 0.0, 1.0).latency is None
    assert client_figures(np.array([[0.5, 0.5, 1.5, 500.0]]), 0.0, 1.0).latency is None


def test_server_figures_are_differences_for_one_model() -> None:
    """200 ok, 50 batches of 200 rows, 0.5 s of queueing in 200 rows, 1 s of CPU."""
    figures = server_figures(read_metrics(BEFORE), read_metrics(AFTER), "m")
    assert figures.requests_by_outcome == {"ok": 200}
    assert figures.batches == 50
    assert figures.mean_batch_rows == 4.0
    assert figures.batch_histogram == [
        BatchBucket(1, 1, 10),
        BatchBucket(2, 2, 0),
        BatchBucket(3, 4, 40),
    ]
    assert figures.queue_mean_ms == pytest.approx(2.5)
    assert figures.cpu_s_by_role == pytest.approx({"worker": 0.4, "engine": 0.6})
    assert figures.cpu_ms_per_request == pytest.approx(5.0)


def test_the_request_as_a_whole_is_of_those_answered_well() -> None:
    """4 s more of requests, 2 s of which failed, over 200 good ones: 10 ms each."""
    figures = server_figures(read_metrics(BEFORE), read_metrics(AFTER), "m")
    assert figures.request_mean_ms == pytest.approx(10.0)
    assert figures.postprocess_mean_ms == pytest.approx(0.5)


def test_gauges_are_of_the_end_or_of_both_readings() -> None:
    """Memory at the end; a GPU's use is a mean, its memory the most, what it lacks unknown."""
    figures = server_figures(read_metrics(BEFORE), read_metrics(AFTER), "m")
    assert figures.resident_bytes_by_role == {"engine": 1024}
    assert figures.gpus == [GpuFigures("0", 0.75, 900, None, None)]
    assert server_figures(read_metrics("a 1"), read_metrics("a 2"), "m").gpus is None


def test_missing_series_are_none() -> None:
    """Without decode and run histograms these two are unknown; without a scrape everything is."""
    figures = server_figures(read_metrics(BEFORE), read_metrics(AFTER), "m")
    assert figures.decode_mean_ms is None
    assert figures.run_mean_ms is None
    for before, after in ((None, read_metrics(AFTER)), (read_metrics(BEFORE), None)):
        nothing = server_figures(before, after, "m")
        assert nothing.requests_by_outcome is None
        assert nothing.batch_histogram is None
        assert nothing.cpu_ms_per_request is None


def test_a_series_that_came_to_life_began_at_zero() -> None:
    """The first scrape of a server that had nothing to count yet is empty, not missing."""
    figures = server_figures({}, read_metrics(BEFORE), "m")
    assert figures.batches == 30
    assert figures.requests_by_outcome == {"ok": 100, "overloaded": 7}


def test_versions_of_a_model_are_one() -> None:
    """Another one took over within the window, and an old one was added to the earlier ones."""
    before, after = (
        read_metrics(
            "\n".join(
                f'inference_requests_total{{model="m",version="{version}",outcome="ok"}} {count}'
                for version, count in counts.items()
            )
            + "\n"
        )
        for counts in ({"1": 10, "2": 20}, {"earlier": 15, "2": 22, "3": 3})
    )
    assert server_figures(before, after, "m").requests_by_outcome == {"ok": 10}


def test_a_counter_that_went_back_is_no_figure() -> None:
    """A server that was started again within the window."""
    figures = server_figures(read_metrics(AFTER), read_metrics(BEFORE), "m")
    assert figures.mean_batch_rows is None
    assert figures.cpu_ms_per_request is None


def test_a_window_without_batches_has_an_empty_histogram() -> None:
    """Nothing changed between the scrapes."""
    figures = server_figures(read_metrics(AFTER), read_metrics(AFTER), "m")
    assert figures.batch_histogram == []
    assert figures.mean_batch_rows is None


def test_the_open_bucket_has_no_last_row() -> None:
    """More rows than the largest bound."""
    before = read_metrics('inference_batch_size_bucket{model="m",le="8"} 0\n')
    after = read_metrics(
        'inference_batch_size_bucket{model="m",le="8"} 0\n'
        'inference_batch_size_bucket{model="m",le="+Inf"} 3\n'
    )
    histogram = server_figures(before, after, "m").batch_histogram
    assert histogram == [BatchBucket(1, 8, 0), BatchBucket(9, None, 3)]


def test_what_is_no_exposition_is_refused() -> None:
    """A page of HTML on /metrics."""
    with pytest.raises(ValueError, match=r"."):
        read_metrics("<html>\n<body>not metrics</body>")
