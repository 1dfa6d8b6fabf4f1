"""Whether `inferctl tune` finds what an exhaustive grid finds: `python -m benchmarks.tuning`.

Three stages, each of which may be ended and gone on with, for everything measured is kept: the grid
measures the highest rate of every candidate of a coarse space; the search is `inferctl tune`'s own
on the same axes; at the end the two winners are measured in turns.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.command import FOLDER, run
from benchmarks.workloads import Assets, workload
from inferctl.bench.search import RateSearch, summed_up
from inferctl.bench.slo import Judged, parse_slo
from inferctl.settings import Settings
from inferctl.tune import run as search
from inferctl.tune.bench import opener
from inferctl.tune.final import Final
from inferctl.tune.live import Live
from inferctl.tune.plan import Plan, read_plan
from inferctl.tune.race import Spent
from inferctl.tune.space import Axis, Candidate, Space
from inferctl.tune.state import State, open_state

Stage: TypeAlias = Literal["grid", "tune", "compare"]
STAGES: tuple[Stage, ...] = ("grid", "tune", "compare")

# How near the grid narrows each candidate's rate down, with one look at each end.
GRID_PRECISION = 0.05
# The search may take this share of the grid's time.
SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Question:
    """The limit, and the axes that differ from what is set by default."""

    slo: str
    axes: dict[Axis, tuple[Any, ...]]


AUTO = ("auto", "auto")
# Ways to share the cores, with the workers, that every grid has.
SHARES: dict[Axis, tuple[Any, ...]] = {"layout": (AUTO, (1, 2)), "workers": ("auto", 1)}
QUESTIONS = {
    "mlp": Question("p99<20ms", {**SHARES, "batch": ("auto", 1), "wait": (0.0, 2.0)}),
    "vision": Question("p90<250ms", {**SHARES, "batch": ("auto", 8)}),
    "text": Question("p95<100ms", {**SHARES, "batch": ("auto", 8)}),
}


@dataclass(slots=True)
class Trial:
    """A workload's plan, its coarse space, and what is known of it."""

    plan: Plan
    space: Space
    state: State

    def live(self, stage: str, until_s: float, console: Console) -> Live:
        """A prober of a stage."""
        begun_s = time.monotonic()
        return Live(
            opener(self.plan), self.plan.slo, self.state, until_s, self.plan.longest_window_s,
            lambda text: console.print(f"{time.monotonic() - begun_s:6.1f} s  {text}"),
            stage=stage,
        )  # fmt: skip


def main(
    name: Annotated[str, typer.Option("--workload", help="mlp, vision or text")] = "mlp",
    stage: Annotated[list[str] | None, typer.Option(help="Only these [default: all]")] = None,
    minutes: Annotated[float, typer.Option(help="Stop after so long; go on another time")] = 9.5,
    out: Annotated[Path, typer.Option(help="Folder of the workloads")] = FOLDER,
) -> None:
    """Compare the search with the grid, as far as the time reaches."""
    console = Console(highlight=False, soft_wrap=True)
    trial = trial_of(name, out)
    until_s = time.monotonic() + 60 * minutes
    for one in stage or STAGES:
        with clocked(trial, one):
            done = {"grid": grid, "tune": tuned, "compare": compare}[one](trial, until_s, console)
        if not done:
            console.print(f"{one} is not over: go on with the same command")
            break
    console.print(table(name, trial))


def trial_of(name: str, out: Path) -> Trial:
    """The plan of a workload: its own inputs, its question's limit, the axes of its grid."""
    assets, question = Assets(out), QUESTIONS[workload(name).name]
    plan = read_plan(
        assets.bundle(name), [], Settings(), config=None, flags={}, slo=parse_slo(question.slo),
        budget_s=300.0, data=inputs_of(name, assets), state=out / "tuning",
    )  # fmt: skip
    space = replace(plan.space(), axes=question.axes)
    return Trial(plan, space, open_state(plan.state, f"grid-{name}", plan.question(), fresh=False))


def inputs_of(name: str, assets: Assets) -> Path | None:
    """The workload's bodies as `bench` takes them: a folder of pictures, a file of texts."""
    bodies = [json.loads(body) for body in assets.bodies(name)]
    target = assets.folder / "tuning" / f"inputs-{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if "text" in bodies[0]:
        keep(target, "".join(f"{body['text']}\n" for body in bodies).encode())
        return target
    if "image_b64" not in bodies[0]:
        return None
    target.mkdir(exist_ok=True)
    for number, body in enumerate(bodies):
        keep(target / f"{number:03}.jpg", base64.b64decode(body["image_b64"]))
    return target


def keep(file: Path, content: bytes) -> None:
    """Write a file, unless it is there: what was measured with another one is not gone on with."""
    if not file.exists() or file.read_bytes() != content:
        file.write_bytes(content)


@contextmanager
def clocked(trial: Trial, stage: str) -> Iterator[None]:
    """Add what a stage takes to what it took before."""
    begun_s = time.monotonic()
    try:
        yield
    finally:
        taken_s = time.monotonic() - begun_s
        file = seconds_file(trial)
        file.write_text(
            json.dumps(seconds_of(trial) | {stage: seconds_of(trial).get(stage, 0.0) + taken_s})
        )


def seconds_file(trial: Trial) -> Path:
    """Where the seconds of the stages are kept."""
    return trial.state.file.with_suffix(".seconds")


def seconds_of(trial: Trial) -> dict[str, float]:
    """What the stages took."""
    file = seconds_file(trial)
    return dict(json.loads(file.read_text())) if file.exists() else {}


def grid(trial: Trial, until_s: float, console: Console) -> bool:
    """Measure the highest rate of every candidate; whether all are measured."""
    live = trial.live("grid", until_s, console)
    try:
        if trial.state.start_per_s is None:
            trial.state.start_per_s = live.saturated_per_s(trial.space.base)
        for candidate in trial.space.all():
            highest_of(trial, candidate, live)
    except Spent:
        return False
    finally:
        live.close()
    return True


def highest_of(trial: Trial, candidate: Candidate, live: Live) -> float | None:
    """A candidate's highest rate, found as the grid finds it."""
    search = grid_search(trial)
    while (rate_per_s := search.next_per_s()) is not None:
        search.note(live(candidate, rate_per_s))
    return search.met_per_s


def grid_search(trial: Trial) -> RateSearch:
    """Every candidate's search begins with the same rate."""
    assert trial.state.start_per_s is not None
    return RateSearch(trial.plan.slo, trial.state.start_per_s, GRID_PRECISION, looks=1)


def grid_rates(trial: Trial) -> dict[Candidate, float]:
    """What was found of the grid, read from what is kept."""
    known = open_state(
        trial.plan.state, f"grid-{trial.plan.name}", trial.plan.question(), fresh=False
    )
    rates = {}
    for candidate in trial.space.all() if known.start_per_s else ():
        search = grid_search(trial)
        while (rate_per_s := search.next_per_s()) is not None:
            judged = known.recall("grid", candidate, rate_per_s)
            if judged is None:
                break
            search.note(judged)
        else:
            rates[candidate] = search.met_per_s or 0.0
    return rates


def tuned(trial: Trial, until_s: float, console: Console) -> bool:
    """Search as `inferctl tune` does, in a quarter of the grid's time; whether that was so."""
    budget_s = SHARE * seconds_of(trial).get("grid", math.inf)
    if time.monotonic() + budget_s > until_s:
        return False
    plan = replace(trial.plan, budget_s=budget_s, fresh=True)
    found = search.tune(
        plan, opener(plan), lambda text, left_s: console.print(f"{left_s:6.1f} s left  {text}"),
        space=trial.space,
    )  # fmt: skip
    winner = found.winner or trial.space.base
    winner_file(trial).write_text(str(list(trial.space.all()).index(winner)))
    return True


def winner_file(trial: Trial) -> Path:
    """Where the number of the search's winner is kept."""
    return trial.state.file.with_suffix(".winner")


def compare(trial: Trial, until_s: float, console: Console) -> bool:
    """Measure the two winners in turns; whether that came to its end."""
    best, _ = winners(trial)
    live = trial.live("compare", until_s, console)
    live.pin(best)
    live.longest_s *= search.FINAL_WINDOWS
    try:
        final = compared(trial)
        final.run(live)
    except Spent:
        return False
    finally:
        live.close()
    return True


def compared(trial: Trial) -> Final:
    """The finalists: both begin with what the grid's winner was measured to carry."""
    best, found = winners(trial)
    rate_per_s = grid_rates(trial)[best]
    return Final.of(trial.plan.slo, dict.fromkeys((best, found), rate_per_s))


def winners(trial: Trial) -> tuple[Candidate, Candidate]:
    """The best of the grid, and the search's."""
    rates = grid_rates(trial)
    best = max(rates, key=lambda one: rates[one])
    return best, list(trial.space.all())[int(winner_file(trial).read_text())]


def table(name: str, trial: Trial) -> Table:
    """What is known by now."""
    rates, seconds = grid_rates(trial), seconds_of(trial)
    shown = Table("what", "settings", "requests/s", "seconds", title=f"{name}, {trial.plan.slo}")
    base = trial.space.base
    for candidate in sorted(rates, key=lambda one: -rates[one]):
        shown.add_row("grid", candidate.beside(base), f"{rates[candidate]:,.4g}", "")
    shown.add_row("grid", f"{len(rates)} of {len(list(trial.space.all()))}", "",
                  f"{seconds.get('grid', 0):.0f}")  # fmt: skip
    if "compare" not in seconds:
        return shown
    best, found = winners(trial)
    known = open_state(
        trial.plan.state, f"grid-{trial.plan.name}", trial.plan.question(), fresh=False
    )
    final = compared(trial)

    def recalled(candidate: Candidate, rate_per_s: float) -> Judged:
        judged = known.recall("compare", candidate, rate_per_s)
        if judged is None:
            raise Spent
        return judged

    with suppress(Spent):
        final.run(recalled)
    carried = {one: summed_up(final.searches[one], [], confirmed=False).rate_per_s or 0.0
               for one in (best, found)}  # fmt: skip
    shown.add_row("grid's winner, in turns", best.beside(base), f"{carried[best]:,.4g}", "")
    shown.add_row("tune's winner, in turns", found.beside(base), f"{carried[found]:,.4g}",
                  f"{seconds.get('tune', 0):.0f}")  # fmt: skip
    ratio = carried[found] / carried[best] if carried[best] else math.nan
    time_share = seconds.get("tune", 0) / seconds["grid"]
    shown.add_row("tune / grid", "", f"{ratio:.3f}", f"{time_share:.2f}")
    return shown


if __name__ == "__main__":
    run(main)
