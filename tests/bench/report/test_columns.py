"""CSV that readers of Locust's and perf_analyzer's files read."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inferctl.bench.measurement import Load
from inferctl.bench.report.columns import CsvStyle, to_csv
from inferctl.bench.report.record import Report
from tests.bench.made import INPUTS, UNKNOWN, measurement, report, window


def rows(made: Report, style: CsvStyle) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(to_csv(made, style))))


def test_locusts_columns_are_named_as_locust_names_them() -> None:
    """Of Locust's own source, without importing it: that would patch this process."""
    header = to_csv(report(), "locust").splitlines()[0]
    assert header == (
        "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,"
        "Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,"
        "50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%"
    )


def test_locusts_lines_count_every_request_and_are_in_milliseconds() -> None:
    made = report(measurement(window(np.arange(0.5, 100.0), errors={"429": 20}, duration_s=2.0)))
    (line, total) = rows(made, "locust")
    assert (line["Type"], line["Name"]) == ("POST", "/models/shapes/predict")
    assert (total["Type"], total["Name"]) == ("", "Aggregated")
    for one in (line, total):
        assert (one["Request Count"], one["Failure Count"]) == ("120", "20")
        assert (one["Requests/s"], one["Failures/s"]) == ("60.0", "10.0")
        assert (one["50%"], one["99%"], one["100%"]) == ("49.5", "98.5", "99.5")
        assert float(one["66%"]) == pytest.approx(65.5, rel=1e-3)
        assert one["Average Response Time"] == "50.0"
        assert float(one["Min Response Time"]) == pytest.approx(0.5, rel=1e-3)


def test_locusts_sum_is_of_all_loads() -> None:
    loads = [measurement(window(np.full(10, ms)), load=Load(users=n)) for n, ms in ((1, 1), (2, 4))]
    *lines, total = rows(report(*loads), "locust")
    assert [line["Name"] for line in lines] == [
        "/models/shapes/predict [1 user]", "/models/shapes/predict [2 users]",
    ]  # fmt: skip
    assert total["Request Count"] == "20"
    assert float(total["Average Response Time"]) == 2.5
    assert float(total["100%"]) == pytest.approx(4, rel=1e-3)


def test_locusts_line_has_the_path_that_was_asked() -> None:
    inputs = replace(INPUTS, dialect="v2", path="/v2/models/shapes/infer")
    made = replace(report(), settings=replace(report().settings, inputs=inputs))
    assert rows(made, "locust")[0]["Name"] == "/v2/models/shapes/infer"


def test_without_an_answer_locust_has_no_percentile() -> None:
    line = rows(report(measurement(window([], errors={"500": 3}))), "locust")[0]
    assert (line["Request Count"], line["50%"], line["Max Response Time"]) == ("3", "N/A", "0")


def test_perf_analyzers_columns_are_named_as_it_names_them() -> None:
    header = to_csv(report(), "perf-analyzer").splitlines()[0]
    assert header == (
        "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
        "Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,"
        "p50 latency,p90 latency,p95 latency,p99 latency"
    )


def test_perf_analyzers_lines_are_in_microseconds_by_throughput() -> None:
    loads = [
        measurement(window(np.full(count, 10.0)), load=Load(users=users))
        for users, count in ((4, 90), (1, 30))
    ]
    first, second = rows(report(*loads), "perf-analyzer")
    assert (first["Concurrency"], second["Concurrency"]) == ("1", "4")
    assert second["Inferences/Second"] == "90.0"
    parts = {name: int(value) for name, value in first.items() if name.startswith("Server")}
    assert parts == {
        "Server Queue": 2000, "Server Compute Input": 1000, "Server Compute Infer": 3000,
        "Server Compute Output": 500,
    }  # fmt: skip
    # The parts are all of the mean, as there.
    assert int(first["Network+Server Send/Recv"]) + sum(parts.values()) == 10_000
    assert first["p99 latency"] == "10000"


def test_an_open_loop_is_called_by_its_rate_and_may_know_no_parts() -> None:
    load = Load(rate_per_s=12.5)
    line = rows(report(measurement(window([4.0], server=UNKNOWN), load=load)), "perf-analyzer")[0]
    assert line["Request Rate"] == "12.5"
    assert line["Network+Server Send/Recv"] == "4000"
    assert line["Server Queue"] == "0"
