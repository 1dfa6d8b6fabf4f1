"""The table says what was measured, and the JSON is written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from inferctl.bench.figures import BatchBucket, ClientFigures, Latency, ServerFigures
from inferctl.bench.plan import Inputs, Plan
from inferctl.bench.report import Report, check_writable, make_report, render, write_json
from inferctl.bench.target import Served, Target
from inferctl.errors import OutputError

CLIENT = ClientFigures(1500, 150.0, Latency(6.0, 5.0, 9.0, 10.0, 20.0, 1234.5), {}, 300)
UNKNOWN = ServerFigures(None, None, None, None, None, None, None, None, None)
HISTOGRAM = [
    BatchBucket(1, 1, 1),
    BatchBucket(2, 2, 0),
    BatchBucket(3, 4, 64),
    BatchBucket(5, None, 32),
]
KNOWN = replace(UNKNOWN, mean_batch_rows=3.25, batch_histogram=HISTOGRAM, run_mean_ms=4.0)


def report(
    client: ClientFigures = CLIENT,
    server: ServerFigures = KNOWN,
    cores: float | None = 0.5,
    available: int = 16,
) -> Report:
    """A report of made-up figures."""
    plan = Plan("http://h:1", None, 8, 10.0, 2.0)
    target = Target("http://h:1", Served(name="shapes", version=3, task="image-detection"))
    return make_report(plan, target, Inputs("made up", 16, available, 9.5), client, server, cores)


def text(what: Report) -> str:
    """The report as it is printed, in one long line each."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(what))
    return capture.get()


def test_the_table_has_every_figure() -> None:
    """With units; what the server does not tell is a dash."""
    printed = " ".join(text(report()).split())
    for part in (
        "shapes version 3 at http://h:1: 8 users, 10 s after 2 s of warm-up, 16 inputs (made up)",
        "answered │ 1,500 requests",
        "errors │ none",
        "throughput │ 150.0 requests/s",
        "latency p99 │ 20.00 ms",
        "latency max │ 1,234.50 ms",
        "mean batch │ 3.25 rows",
        "server run, mean │ 4.00 ms",
        "server CPU per request │ - │",
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
    """Only dashes, and no chart."""
    printed = text(report(replace(CLIENT, latency=None), UNKNOWN, None))
    assert "█" not in printed
    assert printed.count(" - ") == 6


def test_notes_warn_of_what_spoils_the_figures() -> None:
    """A busy generator, failed requests, inputs left out; and none without a reason."""
    assert report(cores=0.8).notes == []
    errors = {"429": 2, "no_answer": 1}
    busy, failed, thinned = report(replace(CLIENT, errors=errors), cores=0.93, available=99).notes
    assert "used 93% of a core: the client is the limit" in busy
    assert "3 of 1,503 requests failed" in failed
    assert "16 of 99 inputs" in thinned
    printed = text(report(replace(CLIENT, errors=errors)))
    assert "429 x 2, no answer x 1" in printed
    assert "Note: 3 of 1,503" in printed


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        ({"ok": 1500 + 158}, None),
        ({"ok": 1500 + 159}, "counted 1,659 good answers, the generator 1,500: someone else"),
        ({"ok": 1500 - 159}, "leads to several servers"),
        ({}, None),
        (None, None),
    ],
)
def test_a_note_when_both_sides_do_not_speak_of_the_same_requests(
    counted: dict[str, int] | None, sentence: str | None
) -> None:
    """The 8 requests under way and a tenth of 1,500 may differ."""
    notes = report(server=replace(KNOWN, requests_by_outcome=counted)).notes
    assert (sentence in notes[0]) if sentence else not notes


def test_json_has_the_documented_fields(tmp_path: Path) -> None:
    """The names are a promise; an existing file is replaced and nothing else is left."""
    file = tmp_path / "report.json"
    file.write_text("old")
    write_json(report(), file)
    written = json.loads(file.read_text())
    assert list(written) == [
        "schema_version", "inferctl_version", "created_at", "settings", "model", "machine",
        "client", "server", "generator_cpu_cores", "notes",
    ]  # fmt: skip
    assert written["schema_version"] == 1
    assert written["client"]["latency"]["p95_ms"] == 10.0
    assert written["server"]["batch_histogram"][3] == {
        "first_rows": 5, "last_rows": None, "batches": 32,
    }  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """Found before the run; and when it happens later, no part of a file stays."""
    for bad in (tmp_path, tmp_path / "absent" / "report.json"):
        with pytest.raises(OutputError, match="a file in a folder"):
            check_writable(bad)
    check_writable(tmp_path / "report.json")
    with pytest.raises(OutputError, match="cannot write the report: Is a directory"):
        write_json(report(), tmp_path)
    assert list(tmp_path.iterdir()) == []
