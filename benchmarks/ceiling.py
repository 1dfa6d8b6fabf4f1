"""What the machine gives without any server: `python -m benchmarks.ceiling [--workload NAME …]`.

Processes of one thread each turn JSON into JSON: parse, decode or tokenise, run, write. Texts run
in batches as they come, and sorted by length, which no server can know. `alone` is one request
after the other with 1 and 2 threads inside the run: what a server's latency adds to.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command import FOLDER, run
from benchmarks.peers.work import Work, load
from benchmarks.workloads import WORKLOADS, Assets, Workload, workload

PROCESSES = 2
WARM_UP_BATCHES = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are run; `sorted` is by length of the body."""

    name: str
    batch: int
    sorted: bool = False
    processes: int = PROCESSES
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a plan gave; `p50_ms` is of one batch."""

    workload: str
    plan: str
    processes: int
    round: int
    items_per_s: float
    cpu_ms_per_item: float
    p50_ms: float


ALONE = (
    Plan("alone, 1 thread", 1, processes=1),
    Plan("alone, 2 threads", 1, processes=1, threads=2),
)
PLANS = {
    "vision": (Plan("one by one", 1), *ALONE),
    "text": (
        Plan("batches of 8, as they come", 8),
        Plan("batches of 8, sorted", 8, sorted=True),
        Plan("batches of 32, sorted", 32, sorted=True),
        *ALONE,
    ),
    "mlp": (Plan("one by one", 1), Plan("batches of 32", 32), *ALONE),
}


def measure_ceilings(of: Workload, assets: Assets, seconds: float, round_: int) -> list[Ceiling]:
    """Every plan of a workload, one after the other."""
    return [measure_ceiling(plan, of, assets, seconds, round_) for plan in PLANS[of.base]]


def measure_ceiling(
    plan: Plan, of: Workload, assets: Assets, seconds: float, round_: int
) -> Ceiling:
    """Run a plan in processes of their own: after a fork ORT has one thread only."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(plan.processes) as pool:
        barrier = manager.Barrier(plan.processes)
        arguments = (plan, of.name, assets, seconds, barrier)
        shares = pool.starmap(work_off, [arguments] * plan.processes, chunksize=1)
    items = sum(share.items for share in shares)
    return Ceiling(
        workload=of.name,
        plan=plan.name,
        processes=plan.processes,
        round=round_,
        items_per_s=sum(share.items / share.seconds for share in shares),
        cpu_ms_per_item=1e3 * sum(share.cpu_s for share in shares) / items,
        p50_ms=statistics.median(itertools.chain.from_iterable(s.batches_ms for s in shares)),
    )


@dataclass(frozen=True, slots=True)
class Share:
    """What one process did."""

    items: int
    seconds: float
    cpu_s: float
    batches_ms: list[float]


def work_off(plan: Plan, name: str, assets: Assets, seconds: float, barrier: Barrier) -> Share:
    """In a process of its own: whole passes over the bodies until the time is over.

    Half a pass over sorted texts would be the short half.
    """
    bodies = assets.bodies(name)
    if plan.sorted:
        bodies = sorted(bodies, key=len)
    starts = range(0, len(bodies), plan.batch)
    batches = [bodies[start : start + plan.batch] for start in starts]
    work = load(assets.bundle(name), plan.threads)
    for batch in batches[:WARM_UP_BATCHES]:
        answer(work, batch)
    barrier.wait()
    took_ms, items = [], 0
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    end_s = begun_s
    while end_s - begun_s < seconds:
        for batch in batches:
            batch_s = time.perf_counter()
            answer(work, batch)
            end_s = time.perf_counter()
            took_ms.append(1e3 * (end_s - batch_s))
            items += len(batch)
    return Share(items, end_s - begun_s, time.process_time() - begun_cpu_s, took_ms)


def answer(work: Work, batch: Sequence[bytes]) -> list[str]:
    """All that a server does of a batch but HTTP."""
    items = [work.preprocess(json.loads(body)) for body in batch]
    return [json.dumps(found) for found in work.infer(items)]


def main(
    name: Annotated[
        list[str] | None, typer.Option("--workload", help="Only these [default: all]")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Per plan")] = 3.0,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
) -> None:
    """Measure and print."""
    table = Table("workload", "plan", "items/s", "CPU ms per item", "p50 of a batch, ms")
    for one in track([workload(one) for one in name or WORKLOADS], "measuring"):
        for found in measure_ceilings(one, Assets(assets), seconds, 0):
            table.add_row(
                found.workload,
                f"{found.plan}, {found.processes} processes",
                f"{found.items_per_s:,.1f}",
                f"{found.cpu_ms_per_item:.3f}",
                f"{found.p50_ms:.3f}",
            )
    Console().print(table)


if __name__ == "__main__":
    run(main)
