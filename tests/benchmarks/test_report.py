"""Medians over rounds, ratios within them, and the tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ceiling import Ceiling
from benchmarks.load import Cost, Load, Point
from benchmarks.report import best_peer, by_setting, ceiling_ratio, ratio, sheets, summary_sheet
from benchmarks.results import Overload, Results, append, next_round, read
from inferctl.errors import UsageError

LOAD = Load(
    requests_per_s=100,
    answered=200,
    p50_ms=5,
    p90_ms=7,
    p99_ms=9,
    max_ms=11,
    failed=0,
    socket_errors=0,
    timeouts=0,
    statuses={},
)
COST = Cost(cpu_ms_per_request=2, pss_mb=150, load_cpu_s=0.1, others_cpu_s=0.0)


def point(server: str, per_s: float, round_: int, config: str = "best", failed: int = 0) -> Point:
    load = replace(LOAD, requests_per_s=per_s, failed=failed)
    return Point("text", server, config, 8, round_, load, COST)


def ceiling(per_s: float, round_: int, plan: str = "sorted") -> Ceiling:
    return Ceiling("text", plan, 2, round_, per_s, 6.0, 50.0)


def test_a_ratio_compares_within_a_round() -> None:
    """The machine was twice as fast in the second round: the ratio stays."""
    ours = [point("inferctl", 150, 0), point("inferctl", 300, 1)]
    theirs = [point("mosec", 100, 0), point("mosec", 200, 1)]

    assert ratio(ours, theirs) == 1.5


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [point("inferctl", value, round_) for round_, value in enumerate((110, 120, 900))]
    theirs = [point("mosec", 100, round_) for round_ in range(3)]

    assert ratio(ours, theirs) == 1.2


def test_without_a_common_round_there_is_no_ratio() -> None:
    assert ratio([point("inferctl", 150, 0)], [point("mosec", 100, 1)]) is None


def test_the_ceiling_of_a_round_is_its_highest() -> None:
    points = [point("inferctl", 90, 0), point("inferctl", 50, 1)]
    ceilings = [ceiling(80, 0, "as they come"), ceiling(100, 0), ceiling(100, 1)]

    assert ceiling_ratio(points, ceilings) == pytest.approx(0.7)


def test_the_best_peer_is_the_configuration_with_the_highest_median() -> None:
    points = [
        *(point("mosec", value, round_) for round_, value in enumerate((100, 100, 500))),
        *(point("mosec", 120, round_, "1 ms") for round_ in range(3)),
        *(point("inferctl", 900, round_) for round_ in range(3)),
    ]

    best = best_peer(by_setting(points), "text", 8)

    assert best is not None
    assert (best.server, best.config) == ("mosec", "1 ms")


def test_a_peer_that_failed_requests_is_not_the_best() -> None:
    points = [point("mosec", 500, 0, failed=1), point("litserve", 100, 0)]

    best = best_peer(by_setting(points), "text", 8)

    assert best is not None
    assert best.server == "litserve"


def test_the_summary_names_the_best_peer_and_both_ratios() -> None:
    points = [point("inferctl", 150, 0), point("mosec", 100, 0)]

    sheet = summary_sheet(Results(points, [ceiling(200, 0)], []), "text")

    assert [" / ".join(row) for row in sheet.rows] == [
        "8 / 150 / 5.00 / 9.00 / 2.00 / 150 / mosec (best) / 100 / 5.00 / 9.00 / 1.50 x / 75%"
    ]


def test_markdown_has_a_line_for_each_row() -> None:
    points = [point("inferctl", 150, 0), point("mosec", 100, 0)]

    lines = sheets(Results(points, [], []))[1].markdown().splitlines()

    assert lines[3].count("---") == lines[2].count("|") - 1 == 10
    assert lines[4].startswith("| 8 | inferctl (best) | 150 |")
    assert lines[5].startswith("| 8 | mosec (best) | 100 |")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    overload = Overload("text", "mosec", "best", 1024, 0, LOAD, LOAD, 150, 300, None)
    file = tmp_path / "new" / "results.jsonl"

    append(file, [point("mosec", 100, 0)])
    append(file, [ceiling(100, 0), overload])

    assert read(file) == Results([point("mosec", 100, 0)], [ceiling(100, 0)], [overload])


def test_a_later_run_gets_rounds_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"

    assert next_round(file) == 0
    append(file, [point("mosec", 100, 4), ceiling(100, 5)])
    assert next_round(file) == 6


@pytest.mark.parametrize("line", ["no json", '{"kind": "point"}', '{"kind": "other"}', "[1]"])
def test_a_line_that_is_no_result_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append(file, [point("mosec", 100, 0)])
    file.write_text(file.read_text() + line + "\n")

    with pytest.raises(UsageError, match=r"results\.jsonl:2"):
        read(file)


def test_without_results_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is measured yet"):
        read(tmp_path / "none.jsonl")
