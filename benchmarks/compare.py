"""inferctl beside its peers: `python -m benchmarks.compare [--workload NAME …] [--rounds N]`.

In each round every server in turn is started, checked against plain onnxruntime, loaded at each
number of clients, and stopped; the order rotates from round to round, and each round measures its
own ceiling. `--report` prints what was measured before, `--markdown` prints it for a README.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.answers import check_answers
from benchmarks.ceiling import measure_ceilings
from benchmarks.command import FOLDER, run
from benchmarks.load import Point, allow_connections, measure, run_wrk
from benchmarks.overload import measure_overload
from benchmarks.report import print_sheets, sheets
from benchmarks.results import Results, append, next_round, read
from benchmarks.servers import Setup, is_installed, setups_of, started
from benchmarks.workloads import Assets, Workload, workload
from inferctl.errors import BenchError, UsageError

WARM_UP_S = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how often, with how many clients, from and to where."""

    clients: tuple[int, ...]
    rounds: int
    seconds: int
    assets: Assets
    venvs: Path
    out: Path


def main(
    name: Annotated[
        list[str] | None,
        typer.Option("--workload", help="One or more [default: vision, text, mlp]"),
    ] = None,
    clients: Annotated[str, typer.Option(help="Numbers of clients")] = "1,8,32,128",
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 5,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="Per point")] = 4,
    servers: Annotated[str, typer.Option()] = "inferctl,litserve,mosec,tutorial",
    overload: Annotated[
        int, typer.Option(min=0, max=10_000, help="Instead: 128, then so many clients")
    ] = 0,
    out: Annotated[Path, typer.Option(help="JSON lines")] = FOLDER / "results.jsonl",
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
    venvs: Annotated[Path, typer.Option(help="Where the peers' venvs lie")] = FOLDER / "venvs",
    report: Annotated[bool, typer.Option("--report", help="Measure nothing")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print for a README")] = False,
) -> None:
    """Measure, add to the JSON lines, print all of them."""
    names = name or (["vision"] if overload else ["vision", "text", "mlp"])
    plan = Plan(numbers(clients), rounds, seconds, Assets(assets), venvs, out)
    if not report:
        allow_connections()
        for one in map(workload, names):
            setups = available(setups_of(one, servers.split(",")), venvs)
            if overload:
                overload_all(plan, one, setups, overload)
            else:
                compare(plan, one, setups)
    show(chosen(read(out), names if name else None), markdown=markdown)


def compare(plan: Plan, workload: Workload, setups: Sequence[Setup]) -> None:
    """All rounds of a workload."""
    first = next_round(plan.out)
    with progress() as bar:
        task = bar.add_task(workload.name, total=plan.rounds * (len(setups) + 1))
        for round_ in range(first, first + plan.rounds):
            where = f"{workload.name}, round {round_ - first + 1} of {plan.rounds}"
            bar.update(task, description=f"{where}: ceiling")
            append(plan.out, measure_ceilings(workload, plan.assets, plan.seconds / 2, round_))
            bar.advance(task)
            for setup in rotated(setups, round_):
                bar.update(task, description=f"{where}: {setup.server}")
                append(plan.out, measure_setup(plan, workload, setup, round_))
                bar.advance(task)


def measure_setup(plan: Plan, workload: Workload, setup: Setup, round_: int) -> list[Point]:
    """A point for each number of clients. Raises BenchError when an answer is wrong."""
    bodies = plan.assets.bodies_file(workload.name)
    points = []
    with started(setup, workload, plan.assets, plan.venvs) as server:
        expected = plan.assets.answers(workload.name)
        check_answers(server.url, workload, plan.assets.bodies(workload.name), expected)
        for clients in plan.clients:
            run_wrk(server.url, bodies, clients, WARM_UP_S)
            load, cost = measure(server.url, bodies, server.tree, clients, plan.seconds)
            points.append(
                Point(workload.name, setup.server, setup.config, clients, round_, load, cost)
            )
    return points


def overload_all(plan: Plan, workload: Workload, setups: Sequence[Setup], clients: int) -> None:
    """One overload of each setup."""
    with progress() as bar:
        for setup in bar.track(setups, description=f"{workload.name}: {clients} clients"):
            found = measure_overload(setup, workload, plan.assets, plan.venvs, clients)
            append(plan.out, [found])


def rotated(setups: Sequence[Setup], by: int) -> list[Setup]:
    """Another one first in each round: nobody always has the machine when it is cool."""
    start = by % len(setups)
    return [*setups[start:], *setups[:start]]


def available(setups: Sequence[Setup], venvs: Path) -> list[Setup]:
    """The setups that can be started; says which ones cannot. Raises UsageError without any."""
    missing = {setup.server for setup in setups if not is_installed(setup, venvs)}
    for server in sorted(missing):
        Console(stderr=True).print(
            f"{server} is left out: no venv in {venvs}; `python -m benchmarks.install` makes it"
        )
    found = [setup for setup in setups if setup.server not in missing]
    if not found:
        raise UsageError("no server is left to measure", where="--servers")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """Numbers of clients. Raises UsageError."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UsageError(f"not numbers of clients: {text!r}", where="--clients", hint="1,8,32")
    return found


def chosen(results: Results, names: list[str] | None) -> Results:
    """What was measured of some workloads, or of all."""
    if names is None:
        return results
    return Results(
        [one for one in results.points if one.workload in names],
        [one for one in results.ceilings if one.workload in names],
        [one for one in results.overloads if one.workload in names],
    )


def show(results: Results, *, markdown: bool) -> None:
    """Print every table. Raises BenchError when there is nothing."""
    made = sheets(results)
    if not made:
        raise BenchError("nothing was measured of these workloads")
    print_sheets(made, markdown=markdown)


def progress() -> Progress:
    """A bar that says which server is measured."""
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())


if __name__ == "__main__":
    run(main)
