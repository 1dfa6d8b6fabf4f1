"""The terminal: the verdict first, then every figure with its unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rich.console import Console

from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.measurement import Load
from inferctl.bench.report.record import Report
from inferctl.bench.report.table import render
from tests.bench.made import UNKNOWN, measurement, report, window


def text(made: Report, ruling: Ruling | None = None) -> str:
    """The report as it is printed, in one long line each."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(made, ruling))
    return capture.get()


def test_the_verdict_is_the_first_line() -> None:
    first, second, *_ = text(report()).splitlines()
    assert first.strip() == (
        "Measured: shapes: 100.0 requests/s at 8 users, p50 50.00 ms, p99 99.00 ms, 0.00% errors"
    )
    assert "At 8 users network and client is 84% of the mean 50.50 ms" in second


def test_what_fails_or_spoils_is_said_first() -> None:
    ruling = Ruling((Case("limit", "p99>50ms", False, "99ms at 8 users"),))
    assert text(report(), ruling).startswith("Failed: shapes")
    assert "p99>50ms: 99ms at 8 users" in text(report(), ruling).splitlines()[1]
    assert text(report(), Ruling((Case("limit", "p99>200ms", True, "99ms"),))).startswith("Passed:")
    limited = report(measurement(window([1.0]), limited="busy"))
    assert text(limited).startswith("Beware:")


def test_windows_that_need_not_agree_are_no_doubt() -> None:
    """Those of a load that changes, and those by turns: no line would say why."""
    pair = (window(np.ones(9)), window(np.ones(99)))
    for made in (
        measurement(*pair, load=Load(users=8, shape="ramp"), stable=False),
        replace(measurement(*pair, stable=False), by_turns=True),
    ):
        assert text(report(made)).startswith("Measured:")
    assert text(report(measurement(*pair, stable=False))).startswith("Beware:")


def test_the_table_has_every_figure() -> None:
    """With units; what the server does not tell is a dash."""
    printed = " ".join(text(report()).split())
    for part in (
        "shapes version 3 at http://h:1, 16 inputs (made up), 2 s of warm-up",
        "answered │ 100 requests",
        "errors │ none",
        "throughput │ 100.0 requests/s",
        "latency p99 │ 99.00 ms",
        "latency p99.9 │ 99.9",
        "latency max │ 100.00 ms",
        "mean: inference │ 3.00 ms 6%",
        "mean batch │ 3.25 rows",
        "server CPU per request │ 2.50 ms",
        "server memory │ 400 MiB",
        "GPU 0 │ 50% busy, 1.0 GiB",
        "generator CPU │ 50% of a core",
    ):
        assert part in printed


def test_batch_sizes_are_bars() -> None:
    """The largest fills the width, a small one is still seen, an empty one is not drawn."""
    lines = [line.split() for line in text(report()).splitlines()]
    assert ["1", "1", "█"] in lines
    assert ["2", "0"] in lines
    assert ["3-4", "64", "█" * 32] in lines
    assert ["5+", "32", "█" * 16] in lines


def test_nothing_known_of_server_and_generator() -> None:
    printed = text(report(measurement(window([], server=UNKNOWN, cores=None))))
    assert "█" not in printed
    assert "latency p50 │ -" in " ".join(printed.split())


def test_errors_are_counted_by_kind() -> None:
    errors = {"429": 2, "no_answer": 1}
    printed = text(report(measurement(window(np.ones(97), errors=errors))))
    assert "3.00%: 429 x 2, no answer x 1" in printed


def test_of_many_loads_each_has_a_line() -> None:
    loads = [measurement(window([float(n)]), load=Load(users=n)) for n in range(1, 7)]
    printed = " ".join(text(report(*loads)).split())
    assert "│ 6 users │" in printed
    assert "mean batch" in printed
