"""The options of a load become a plan, or a sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.bench.measurement import Load
from inferctl.cli.loads import Loading
from inferctl.errors import UsageError

USUAL = Loading(None, None, "poisson", None, None, None, "3s", 10, "2s")


def test_without_options_eight_users_until_windows_agree() -> None:
    """Ten windows of three seconds at most."""
    plan = USUAL.plan("http://h", "m")
    assert (plan.url, plan.model, plan.load) == ("http://h", "m", Load(users=8))
    assert (plan.windows, plan.window_s, plan.until_stable, plan.warmup_s) == (10, 3.0, True, 2.0)


def test_a_duration_is_measured_to_its_end() -> None:
    """In windows of about the length asked for."""
    plan = replace(USUAL, duration="1m", rate=5.0, arrivals="constant").plan("http://h", None)
    assert plan.load == Load(rate_per_s=5.0, arrivals="constant")
    assert (plan.windows, plan.window_s, plan.until_stable) == (20, 3.0, False)


def test_a_replay_has_the_log_s_rate_or_another(tmp_path: Path) -> None:
    """Two requests in two seconds are one gap of two seconds."""
    log = tmp_path / "log"
    lines = [
        {"time": f"2026-01-02T03:04:0{s}Z", "route": "predict", "model": "m", "total_ms": 0}
        for s in (1, 3)
    ]
    log.write_text("\n".join(map(json.dumps, lines)))
    plan = replace(USUAL, replay=log).plan("http://h", None)
    assert plan.load == Load(rate_per_s=0.5, arrivals="replay")
    assert plan.replay is not None
    faster = replace(USUAL, replay=log, rate=7.0).plan("http://h", None)
    assert faster.load == Load(rate_per_s=7.0, arrivals="replay")
    with pytest.raises(UsageError, match="a replay has its own shape"):
        replace(USUAL, replay=log, shape="ramp", duration="1s").plan("http://h", None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"users": 1, "rate": 1.0}, "--users does not go with --rate"),
        ({"users": 1, "replay": Path("x")}, "--users does not go with --rate"),
        ({"shape": "ramp"}, "a shape needs a time; give --duration"),
        ({"shape": "hill", "duration": "1s"}, "'hill' is no point of a shape"),
        ({"duration": "0s"}, "nothing can be measured in 0 s .--duration"),
        ({"window": "0s"}, "nothing can be measured in 0 s .--window"),
        ({"replay": Path("absent")}, "cannot read the log"),
    ],
)
def test_what_does_not_fit_together(options: dict[str, object], sentence: str) -> None:
    """One sentence, before anything is started."""
    with pytest.raises(UsageError, match=sentence):
        replace(USUAL, **options).plan("http://h", None)  # type: ignore[arg-type]


def test_the_page_names_options_that_there_are() -> None:
    """docs/bench.md, by the command's own help in docs/cli.md."""
    docs = Path(__file__).parents[2] / "docs"
    options = re.compile(r"--[a-z][a-z-]+")
    helped = (docs / "cli.md").read_text().partition("## inferctl bench\n")[2].partition("\n## ")[0]
    named = set(options.findall((docs / "bench.md").read_text()))
    assert len(named) > 15
    assert named <= set(options.findall(helped))
