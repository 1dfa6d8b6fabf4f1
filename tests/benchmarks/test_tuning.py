"""The comparison of the search with the grid, on candidates of known capacity."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import tuning
from inferctl.tune.space import Candidate
from inferctl.tune.state import open_state
from tests.tune.conftest import Benches, plan_of, write_version


def capacity_per_s(candidate: Candidate) -> float:
    return 100.0 * (1.3 if candidate.batch == 4 else 1) * (1.1 if candidate.workers == 1 else 1)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuning.Trial:
    """A coarse space of a model that takes no time to measure."""
    monkeypatch.setattr("inferctl.tune.run.measured_curves", lambda *asked: {})
    monkeypatch.setattr(tuning, "opener", lambda plan: Benches(capacity_per_s).open)
    write_version(tmp_path / "models" / "net")
    plan = plan_of(tmp_path / "models" / "net", tmp_path)
    space = replace(plan.space(), axes={"workers": ("auto", 1), "batch": ("auto", 2, 4)})
    state = open_state(plan.state, "grid-net", plan.question(), fresh=False)
    return tuning.Trial(plan, space, state)


def test_the_search_is_held_against_the_whole_grid(trial: tuning.Trial) -> None:
    console, until_s = Console(quiet=True), time.monotonic() + 3600

    assert tuning.grid(trial, until_s, console)
    rates = tuning.grid_rates(trial)
    assert len(rates) == 6
    assert all(rates[one] == pytest.approx(capacity_per_s(one), rel=0.05) for one in rates)

    tuning.seconds_file(trial).write_text(json.dumps({"grid": 400.0}))
    assert tuning.tuned(trial, until_s, console)
    best, found = tuning.winners(trial)
    assert capacity_per_s(best) == capacity_per_s(found)

    with tuning.clocked(trial, "compare"):
        assert tuning.compare(trial, until_s, console)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(tuning.table("net", trial))
    assert "1.000" in captured.get()


def test_inputs_that_are_there_stay_as_old_as_they_are(tmp_path: Path) -> None:
    """Or what was measured with them would count as measured with others."""
    file = tmp_path / "texts.txt"
    tuning.keep(file, b"one")
    written_ns = file.stat().st_mtime_ns
    os.utime(file, ns=(written_ns - 10**9, written_ns - 10**9))
    tuning.keep(file, b"one")

    assert file.stat().st_mtime_ns == written_ns - 10**9
    tuning.keep(file, b"two")
    assert file.read_bytes() == b"two"


def test_a_grid_that_has_no_time_is_gone_on_with(trial: tuning.Trial) -> None:
    console = Console(quiet=True)

    assert not tuning.grid(trial, time.monotonic(), console)
    assert tuning.grid_rates(trial) == {}
    assert tuning.grid(trial, time.monotonic() + 3600, console)
    assert len(tuning.grid_rates(trial)) == 6
