"""Reading what wrk prints."""

from __future__ import annotations

import pytest

from benchmarks.load import machine_cpu_s, parse_wrk
from inferctl.errors import BenchError

OUTPUT = """\
Running 2s test @ http://127.0.0.1:8000/predict
  1 threads and 8 connections
  2010 requests in 2.00s, 310.05KB read
  Non-2xx or 3xx responses: 10
WRK {"answered":2010,"duration_us":2000000,"p50_us":4100,"p90_us":6300,"p99_us":9050,\
"max_us":20500,"failed":10,"socket_errors":3,"timeouts":1,"statuses":{"200":2000,"429":10}}
"""


def test_requests_per_second_count_good_answers_only() -> None:
    assert parse_wrk(OUTPUT).requests_per_s == 1000.0


def test_latencies_are_milliseconds() -> None:
    load = parse_wrk(OUTPUT)

    assert (load.p50_ms, load.p90_ms, load.p99_ms, load.max_ms) == (4.1, 6.3, 9.05, 20.5)


def test_every_kind_of_failure_is_kept() -> None:
    load = parse_wrk(OUTPUT)

    assert (load.answered, load.failed, load.socket_errors, load.timeouts) == (2010, 10, 3, 1)
    assert load.statuses == {"200": 2000, "429": 10}


def test_a_run_without_an_answer_has_no_rate() -> None:
    nothing = OUTPUT.replace("2010,", "0,").replace('"failed":10', '"failed":0')

    assert parse_wrk(nothing.replace("2000000", "0")).requests_per_s == 0.0


def test_output_without_the_scripts_line_is_an_error_that_quotes_it() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:9 Connection refused\n")


def test_the_machines_cpu_time_only_grows() -> None:
    before_s = machine_cpu_s()
    while machine_cpu_s() == before_s:
        pass

    assert machine_cpu_s() > before_s > 0
