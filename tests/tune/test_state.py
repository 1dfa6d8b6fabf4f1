"""What was measured outlives the search."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.bench.slo import Judged, nothing_at
from inferctl.errors import OutputError
from inferctl.tune.state import open_state
from tests.tune.modelled import BASE

QUESTION = {"slo": "p99<50ms"}
JUDGED = Judged(100.0, 2.0, 200, 1, 99.5, 40.0, 5.0)


def test_a_measurement_is_recalled_once_for_each_time_it_was_made(tmp_path: Path) -> None:
    state = open_state(tmp_path, "net", QUESTION, fresh=False)
    state.add("race", BASE, JUDGED)
    again = open_state(tmp_path, "net", QUESTION, fresh=False)

    assert again.measured == 1
    assert again.recall("final", BASE, 100.0) is None
    assert again.recall("race", BASE, 101.0) is None
    assert again.recall("race", BASE, 100.0) == JUDGED
    assert again.recall("race", BASE, 100.0) is None


def test_a_shorter_window_than_is_asked_for_is_not_recalled(tmp_path: Path) -> None:
    state = open_state(tmp_path, "net", QUESTION, fresh=False)
    state.add("race", BASE, JUDGED)
    state.add("race", BASE, replace(JUDGED, seconds=4.0))
    again = open_state(tmp_path, "net", QUESTION, fresh=False)

    found = again.recall("race", BASE, 100.0, 4.0)
    assert found is not None
    assert found.seconds == 4.0
    assert again.recall("race", BASE, 100.0, 2.0) is None


def test_variants_that_are_called_alike_share_nothing(tmp_path: Path) -> None:
    one, other = (
        replace(BASE, variant=replace(BASE.variant, digest=64 * digit)) for digit in ("a", "b")
    )
    open_state(tmp_path, "net", QUESTION, fresh=False).add("race", one, JUDGED)
    again = open_state(tmp_path, "net", QUESTION, fresh=False)

    assert str(one) == str(other)
    assert again.recall("race", other, 100.0) is None
    assert again.recall("race", one, 100.0) == JUDGED


def test_what_has_no_end_is_kept_too(tmp_path: Path) -> None:
    open_state(tmp_path, "net", QUESTION, fresh=False).add("race", BASE, nothing_at(7.0))
    found = open_state(tmp_path, "net", QUESTION, fresh=False).recall("race", BASE, 7.0)

    assert found is not None
    assert found.latency_ms == math.inf


def test_curves_and_the_first_guess_are_kept(tmp_path: Path) -> None:
    state = open_state(tmp_path, "net", QUESTION, fresh=False)
    state.curves["folder"] = {1: {1: 0.01, 8: 0.05}}
    state.start_per_s = 70.5
    state.save()
    again = open_state(tmp_path, "net", QUESTION, fresh=False)

    assert again.curves == state.curves
    assert again.start_per_s == 70.5


def test_another_question_has_another_file(tmp_path: Path) -> None:
    open_state(tmp_path, "net", QUESTION, fresh=False).add("race", BASE, JUDGED)

    assert open_state(tmp_path, "net", {"slo": "p99<60ms"}, fresh=False).measured == 0
    assert open_state(tmp_path, "net", QUESTION, fresh=True).measured == 0


def test_what_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    file = open_state(tmp_path, "net", QUESTION, fresh=False).file
    file.write_text("{}")

    with pytest.raises(OutputError, match="does not hold what a search kept"):
        open_state(tmp_path, "net", QUESTION, fresh=False)
    assert file.read_text() == "{}"
