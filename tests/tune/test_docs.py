"""What docs/tune.md says is what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inferctl.bench import search, slo, sweep
from inferctl.cli import app
from inferctl.settings import Settings
from inferctl.tune import final, plan, race, run, serving, space
from tests.tune.modelled import BASE, Modelled

TEXT = (Path(__file__).parents[2] / "docs" / "tune.md").read_text(encoding="utf-8")
PROSE = " ".join(TEXT.split())


def test_every_limit_and_sweep_is_one() -> None:
    limits = re.findall(r"--slo '([^']+)'", TEXT)
    sweeps = re.findall(r"--sweep ([^`\s]+=[^`\s]+)", TEXT)

    assert len({str(slo.parse_slo(text)) for text in limits}) == 3
    assert [len(sweep.parse_sweep(text)) for text in sweeps] == [8, 3, 20]


def test_the_example_is_a_settings_file() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)

    settings = Settings.model_validate(tomllib.loads(example))
    assert settings.for_model("shapes").batching.max_batch_rows == 8


@pytest.mark.parametrize("flag", sorted(set(re.findall(r"--[a-z]+", TEXT)) - {"--sweep"}))
def test_every_flag_is_one(flag: str) -> None:
    assert flag in CliRunner().invoke(app, ["tune", "--help"]).output


def looks_at_each_end() -> set[int]:
    """Of the searches of a final."""
    found = final.Final.of(slo.parse_slo("p99<50ms"), {BASE: 100.0})
    found.run(Modelled(lambda candidate: 100.0))
    (known,) = (one.known for one in found.searches.values())
    ends = found.highest(BASE).rate_per_s, found.highest(BASE).missed_per_s
    return {len(known[rate_per_s]) for rate_per_s in ends if rate_per_s}


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ("below 80 % of what another", run.BOUND_SLACK == 0.8),
        ("is offered 4 % more", race.MARGIN == 0.04),
        ("After three challengers", race.RECHECK == 3),
        ("one is better that takes 5 % less", race.CHEAPER == 0.05),
        ("In the last third of the budget", run.RACE == 0.65),
        ("windows twice as long", run.FINAL_WINDOWS == 2),
        ("until ten requests lie beyond", slo.BEYOND == 10),
        ("30 times the limit", slo.LIMITS_LONG == 30),
        ("a fortieth of the budget", plan.WINDOWS_IN_BUDGET == 40),
        ("ten times the limit or 1 s", serving.LIMITS_TO_DEADLINE == 10),
        ("up to a quarter of the limit", space.LONGEST_WAIT == 0.25),
        ("three values up to", space.MOST_WAITS == 3),
        ("until it is 3 % wide", search.PRECISION == 0.03),
        ("Of loads within 5 %", sweep.AS_GOOD == 0.05),
        ("both of its ends twice", looks_at_each_end() == {2}),
    ],
)
def test_every_number_is_the_codes(said: str, is_so: bool) -> None:
    assert said in PROSE
    assert is_so
