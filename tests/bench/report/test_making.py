"""A report says what was measured, and of what to beware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.bench.measurement import Load
from inferctl.bench.report.making import make_report
from inferctl.bench.report.words import latencies
from tests.bench.made import INPUTS, KNOWN, SERVICE, TARGET, measurement, report, window


def test_figures_are_those_of_the_windows_that_count() -> None:
    """The first of three windows does not."""
    windows = [window(np.full(10, ms), 2.0 + number) for number, ms in enumerate((90.0, 10, 20))]
    made = report(replace(measurement(*windows), counted_from=1)).loads[0]
    assert made.client.answered == 20
    assert made.client.latency is not None
    assert made.client.latency.mean_ms == 15.0
    assert made.duration_s == 2.0
    assert latencies(made).percentile_ms(100) == pytest.approx(20, rel=1e-3)
    assert [one.client.answered for one in made.windows] == [10, 10, 10]


def test_the_course_has_every_answer_in_the_stretch_in_which_it_began() -> None:
    """A stall in the second half of a window is seen there."""
    slow = np.where(np.arange(100) < 50, 5.0, 500.0)
    made = report(measurement(window(slow, begun_s=3.0))).loads[0]
    assert sum(moment.answered for moment in made.moments) == 100
    assert made.moments[0].begun_s == 3.0
    halves = [{one.max_ms for one in made.moments if (one.begun_s < 3.5) is half}
              for half in (True, False)]  # fmt: skip
    assert halves == [{5.0}, {500.0}]


def test_a_stretch_without_an_answer_has_no_percentile() -> None:
    made = report(measurement(window([1.0], duration_s=1.0))).loads[0]
    assert made.moments[-1].answered == 0
    assert made.moments[-1].p50_ms is None


def test_the_circumstances_are_kept() -> None:
    made = report()
    assert made.schema_version == 2
    assert made.settings.url == "http://h:1"
    assert made.model.version == 3
    assert made.machine.cores > 0
    assert made.service == SERVICE
    assert made.locust_version
    assert made.commit is None or len(made.commit) >= 40


def test_nothing_to_beware_of_has_no_note() -> None:
    assert report().notes == []


def notes(**changes: object) -> list[str]:
    values = {"errors": None, "server": KNOWN} | changes
    errors, server = values.pop("errors"), values.pop("server")
    one = window(np.arange(1.0, 101.0), errors=errors, server=server)  # type: ignore[arg-type]
    return report(measurement(one, one, **values)).notes  # type: ignore[arg-type]


def test_notes_warn_of_what_spoils_the_figures() -> None:
    assert "8 users: 6 of 206 requests failed" in notes(errors={"429": 2, "no_answer": 1})[0]
    assert "the client, not the server, is the limit: busy" in notes(limited="busy")[0]
    assert "8 users: the windows differ by more than a tenth" in notes(stable=False)[0]
    assert "interrupted after 2.0 s" in notes(interrupted=True, stable=False)[0]
    assert report(measurement(window([1.0]), stable=False)).notes == [], "one has no other"


def test_notes_name_inputs_left_out_and_what_the_server_warns_of() -> None:
    service = replace(SERVICE, warnings=["anybody may ask"])
    found = make_report(
        TARGET, replace(INPUTS, available=99), [measurement(window([1.0]))], warmup_s=0.0,
        service=service,
    )  # fmt: skip
    assert found.notes == [
        "16 of 99 inputs were used, evenly spaced.", "The server warns: anybody may ask",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (100 + 18, None),
        (100 + 19, "counted 119 good answers, the generator 100: someone else"),
        (100 - 19, "leads to several servers"),
        (None, None),
    ],
)
def test_a_note_when_both_sides_do_not_speak_of_the_same_requests(
    counted: int | None, sentence: str | None
) -> None:
    """The 8 requests under way and a tenth of 100 may differ."""
    outcomes = None if counted is None else {"ok": counted}
    server = replace(KNOWN, requests_by_outcome=outcomes)
    found = report(measurement(window(np.arange(1.0, 101.0), server=server))).notes
    assert (sentence in found[0]) if sentence else not found


def test_an_open_loop_is_called_by_its_rate() -> None:
    load = Load(rate_per_s=150.0, arrivals="constant")
    made = report(measurement(window([1.0]), load=load)).loads[0]
    assert made.label == "150 requests/s (constant)"
    assert report(measurement(window([1.0]), load=Load(users=1))).loads[0].label == "1 user"
