"""Batching policies of inferctl: `python -m benchmarks.policies [--chart docs/img/policies.png]`.

The same service with other settings, from one client to many: no batching, the classic window of
10 ms, idle-first (the default); and texts first come, first served instead of with their like.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command import FOLDER, run
from benchmarks.compare import Plan, chosen, measure_setup, numbers, progress, rotated, show
from benchmarks.load import allow_connections
from benchmarks.results import append, next_round, read
from benchmarks.servers import OURS, Setup
from benchmarks.workloads import Assets, Workload, workload

DEFAULT = "idle-first"
NONE = "no batching"
WINDOW = "10 ms window"
FIRST_COME = "idle-first, first come"

POLICIES = (
    Setup(OURS, NONE, toml={"batching": {"max_batch_rows": 1}}),
    Setup(OURS, WINDOW, toml={"batching": {"max_batch_rows": 32, "max_wait_ms": 10}}),
    Setup(OURS, DEFAULT),
)
# Only rows of unlike length can be batched with their like.
TEXT_POLICIES = (
    *POLICIES,
    Setup(OURS, FIRST_COME, toml={"batching": {"max_padding": 1, "max_batch_rows": 8}}),
)


def main(
    name: Annotated[
        list[str] | None, typer.Option("--workload", help="One or more [default: text]")
    ] = None,
    clients: Annotated[str, typer.Option(help="Numbers of clients")] = "1,2,4,8,16,32,64,128",
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="Per point")] = 4,
    out: Annotated[Path, typer.Option(help="JSON lines")] = FOLDER / "policies.jsonl",
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
    chart: Annotated[Path | None, typer.Option(help="Draw all that was measured: a PNG")] = None,
    report: Annotated[bool, typer.Option("--report", help="Measure nothing")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print for a README")] = False,
) -> None:
    """Measure, add to the JSON lines, print and draw all of them."""
    names = name or ["text"]
    plan = Plan(numbers(clients), rounds, seconds, Assets(assets), FOLDER, out)
    if not report:
        allow_connections()
        for one in map(workload, names):
            measure_policies(plan, one, TEXT_POLICIES if one.base == "text" else POLICIES)
    results = chosen(read(out), names if name else None)
    show(results, markdown=markdown)
    if chart is not None:
        # matplotlib is in the benchmarks extra, and only a chart needs it.
        from benchmarks.chart import draw  # noqa: PLC0415

        draw(results.points, chart)


def measure_policies(plan: Plan, workload: Workload, policies: Sequence[Setup]) -> None:
    """All rounds of a workload."""
    first = next_round(plan.out)
    with progress() as bar:
        task = bar.add_task(workload.name, total=plan.rounds * len(policies))
        for round_ in range(first, first + plan.rounds):
            for policy in rotated(policies, round_):
                where = f"{workload.name}, round {round_ - first + 1} of {plan.rounds}"
                bar.update(task, description=f"{where}: {policy.config}")
                append(plan.out, measure_setup(plan, workload, policy, round_))
                bar.advance(task)


if __name__ == "__main__":
    run(main)
