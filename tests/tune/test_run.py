"""The search as a whole, with benches that take no time."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from inferctl.errors import OutputError
from inferctl.sources import load_settings
from inferctl.tune.late import Late
from inferctl.tune.plan import Plan
from inferctl.tune.recommended import check_target, recommended_text, write_recommended
from inferctl.tune.report import notes, render, verdict
from inferctl.tune.run import RACE, tune
from inferctl.tune.space import Candidate
from tests.tune.conftest import Benches, plan_of, write_version


def better_with_four(candidate: Candidate) -> float:
    """Batches of four carry more, and so does one worker."""
    return 100.0 * (1.3 if candidate.batch == 4 else 1) * (1.1 if candidate.workers == 1 else 1)


def text_of(plan: Plan, benches: Benches) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(render(tune(plan, benches.open)))
    return captured.get()


def test_the_better_settings_are_recommended_and_were_measured(plan: Plan) -> None:
    benches = Benches(better_with_four)
    tuned = tune(plan, benches.open)

    assert tuned.winner is not None
    assert tuned.winner.batch == 4
    assert tuned.is_final
    assert tuned.ended
    assert tuned.rate_per_s == pytest.approx(better_with_four(tuned.winner), rel=0.03)
    assert tuned.winner in tuned.probes
    assert verdict(tuned).startswith("Take ")


def test_every_server_is_ended_and_two_are_up_at_most(plan: Plan) -> None:
    benches = Benches(better_with_four)
    tune(plan, benches.open)

    assert sorted(map(str, benches.opened)) == sorted(map(str, benches.closed))
    assert benches.most_up == 2


def test_where_nothing_is_better_it_stays_as_it_is(plan: Plan) -> None:
    tuned = tune(plan, Benches().open)

    assert tuned.winner == tuned.space.base
    assert "Leave it as it is" in verdict(tuned)


def test_where_nothing_keeps_the_limit_nothing_is_recommended(plan: Plan) -> None:
    tuned = tune(plan, Benches(lambda candidate: 0.0).open)

    assert tuned.winner is None
    assert "Nothing that was measured keeps p99<50ms" in verdict(tuned)


@pytest.mark.parametrize("number", [0, 1, 5, 12])
def test_an_interrupted_search_is_gone_on_with(plan: Plan, number: int) -> None:
    """The second run measures what the first one did not, and finds the same."""
    whole = tune(replace(plan, state=plan.state / "other"), Benches(better_with_four).open)
    first, second = Benches(better_with_four, interrupted_at=number), Benches(better_with_four)
    broken = tune(plan, first.open)
    found = tune(plan, second.open)

    assert broken.interrupted
    assert not found.interrupted
    assert sorted(map(str, first.opened)) == sorted(map(str, first.closed))
    assert found.recalled == broken.measured
    assert len(first.loads) + len(second.loads) == whole.measured + 1
    assert found.winner == whole.winner
    assert found.rate_per_s == whole.rate_per_s


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_final_that_is_cut_off_leaves_what_the_race_found(plan: Plan, looks: int) -> None:
    """A look at each finalist, at what it was seen to carry, tells neither apart."""
    raced = tune(replace(plan, state=plan.state / "raced"), Benches(better_with_four).open)
    first = 1 + raced.state_file.read_text().count('"stage": "race"')
    spent = tune(
        replace(plan, state=plan.state / "spent"),
        Benches(better_with_four, spent_at=first).open,
    )
    tuned = tune(plan, Benches(better_with_four, spent_at=first + looks).open)

    assert tuned.measured == spent.measured + looks
    assert tuned.winner == spent.winner
    assert tuned.rate_per_s == spent.rate_per_s
    assert verdict(tuned) == verdict(spent)
    assert not tuned.is_final
    assert any("no time to measure the winner beside" in note for note in notes(tuned))


def test_a_search_that_has_no_time_says_what_it_lacks(plan: Plan) -> None:
    """The windows are longer than the budget: nothing is measured after the first guess."""
    tuned = tune(replace(plan, budget_s=1.0), Benches().open)

    assert tuned.winner is None
    assert tuned.measured == 0


def test_a_cost_curve_that_is_late_is_neither_kept_nor_waited_for_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_s = []

    def late(bundle: Path, threads: list[int], device: str, limit_s: float) -> NoReturn:
        limits_s.append(limit_s)
        raise Late("the model did not warm up")

    monkeypatch.setattr("inferctl.tune.run.measured_curves", late)
    tuned = tune(plan, Benches(better_with_four).open)

    assert tuned.winner != tuned.space.base
    assert len(limits_s) == 1
    assert 30.0 < limits_s[0] < RACE * plan.budget_s
    assert json.loads(tuned.state_file.read_text())["curves"] == {}


def test_the_report_has_a_table_a_plot_and_a_verdict(plan: Plan) -> None:
    text = text_of(plan, Benches(better_with_four))

    assert "as it is" in text
    assert "batch 4" in text
    assert "◆ recommended" in text
    assert "within p99<50ms, against" in text


@pytest.mark.parametrize("loads", [10_000, 40])
def test_a_rate_that_the_generator_may_have_limited_is_told_of(plan: Plan, loads: int) -> None:
    """By the final, or where that was cut off by the race."""
    limited = Benches(better_with_four, spent_at=loads, client_limited="it used 0.93 cores")
    found = tune(plan, limited.open)
    free = tune(replace(plan, fresh=True), Benches(better_with_four, spent_at=loads).open)

    assert found.is_final == (loads == 10_000)
    assert any("(it used 0.93 cores): the server may carry more" in one for one in notes(found))
    assert not any("the server may carry more" in one for one in notes(free))


def test_the_file_serves_what_was_found(plan: Plan, tmp_path: Path) -> None:
    tuned = tune(plan, Benches(better_with_four).open)
    write_recommended(tuned, tmp_path / "tuned.toml", force=False)
    settings = load_settings(config=tmp_path / "tuned.toml").settings

    assert settings.for_model("net").batching.max_batch_rows == 4
    assert settings.models_dir == str(plan.model)
    assert settings.server.workers == 1


def test_the_users_settings_stay_in_the_file(plan: Plan) -> None:
    own = {"logs": {"slow_ms": 7}, "models": {"net": {"limits": {"max_rows": 3}}, "other": {}}}
    tuned = tune(replace(plan, config=Path("mine.toml"), config_tree=own), Benches().open)
    tree = tomllib.loads(recommended_text(tuned))

    assert tree["logs"] == {"slow_ms": 7}
    assert tree["models"]["net"]["limits"] == {"max_rows": 3}
    assert tree["models"]["net"]["batching"]["max_batch_rows"] == "auto"


def test_no_file_is_replaced_unasked(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "tuned.toml"
    file.write_text("mine")

    with pytest.raises(OutputError, match="exists already"):
        check_target(file, force=False)
    with pytest.raises(OutputError, match="exists already"):
        write_recommended(tune(plan, Benches().open), file, force=False)
    assert file.read_text() == "mine"
    write_recommended(tune(plan, Benches().open), file, force=True)
    assert "max_batch_rows" in file.read_text()


def test_what_a_search_wrote_is_replaced_by_the_next_one(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "tuned.toml"
    write_recommended(tune(plan, Benches().open), file, force=False)
    check_target(file, force=False)
    again = tune(replace(plan, fresh=True), Benches(better_with_four).open)
    write_recommended(again, file, force=False)

    assert "max_batch_rows = 4" in file.read_text()


def test_another_precision_is_a_candidate(bundle: Path, tmp_path: Path, no_curves: None) -> None:
    write_version(bundle, version=2, precision="int8")
    plan = plan_of(bundle, tmp_path)
    tuned = tune(plan, Benches(lambda one: 50.0 * one.variant.version).open)

    assert [one.precision for one in plan.variants] == ["int8", "fp32"]
    assert tuned.winner is not None
    assert tuned.winner.variant.version == 2
    assert tomllib.loads(recommended_text(tuned))["models"]["net"]["versions"] == [2]
