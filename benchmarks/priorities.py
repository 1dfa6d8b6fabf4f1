"""What bulk rows cost interactive ones: `python -m benchmarks.priorities [--before CHECKOUT]`.

A server is asked by one interactive client at a steady pace, alone and beside closed-loop bulk
clients that keep it busy, in turns; and by those clients alone, as bulk and as interactive ones,
which says what bulk throughput there is. Another checkout of inferctl is measured in the same
rounds. Whatever else the machine does meets all phases alike, but hides what they differ by.
"""

from __future__ import annotations

import math
import multiprocessing
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.asking import Asked, Asking, percentile
from benchmarks.command import FOLDER, REPOSITORY, run
from benchmarks.heavy import BODY, NAME, write_heavy
from benchmarks.servers import serving
from benchmarks.workloads import Assets, workload
from inferctl.bench.exposition import having, read_metrics
from inferctl.errors import BenchError

# So many at once: a request that takes long keeps no other one from being sent.
CONNECTIONS = 8
BULK = {"X-Priority": "bulk"}
# Before a phase is counted: what the one before left is done, and this one's load is there.
SETTLE_S = 0.5
PREEMPTED = "inferctl_preempted_rows_total"


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests of the one client, clients of the many, and how long each phase takes."""

    path: str
    body: bytes
    per_s: float
    clients: int
    seconds: float


@dataclass(slots=True)
class Found:
    """Of one checkout: interactive requests, and rows/s of each round."""

    idle: list[Asked] = field(default_factory=list)
    beside: list[Asked] = field(default_factory=list)
    bulk_beside: list[float] = field(default_factory=list)
    bulk_alone: list[float] = field(default_factory=list)
    saturated: list[float] = field(default_factory=list)


class Many:
    """Closed-loop clients, in a process of their own: their threads are not to delay the one."""

    def __init__(self, url: str, plan: Plan, headers: dict[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_ask, args=(theirs, url, plan, headers))
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def end(self) -> list[Asked]:
        """What was asked."""
        self._pipe.send(None)
        asked: list[Asked] = self._pipe.recv()
        self._process.join()
        return asked


def _ask(pipe: Connection, url: str, plan: Plan, headers: dict[str, str]) -> None:
    with Asking(url, [plan.path], math.inf, plan.clients, plan.body, headers) as asking:
        time.sleep(SETTLE_S)
        pipe.send(None)
        pipe.recv()
    pipe.send(asking.asked)


def rate(asked: Sequence[Asked], from_s: float, until_s: float) -> float:
    """Rows/s that were answered in a while. Raises BenchError when some were not."""
    failed = Counter(one.status for one in asked if one.status != 200)
    if failed:
        raise BenchError(f"not answered: {dict(failed)}", hint="ask with fewer clients")
    ends_s = [one.at_s + one.took_ms / 1000 for one in asked]
    return sum(from_s <= end_s < until_s for end_s in ends_s) / (until_s - from_s)


def one(url: str, plan: Plan) -> list[Asked]:
    """What the one client sees in a phase."""
    with Asking(url, [plan.path], plan.per_s, CONNECTIONS, plan.body) as asking:
        time.sleep(plan.seconds)
    return asking.asked


def many(url: str, plan: Plan, headers: dict[str, str]) -> float:
    """Rows/s of the many in a phase of their own."""
    clients, from_s = Many(url, plan, headers), time.monotonic()
    time.sleep(plan.seconds)
    until_s = time.monotonic()
    return rate(clients.end(), from_s, until_s)


def both(url: str, plan: Plan) -> tuple[list[Asked], float]:
    """What the one sees beside many bulk clients, and the rows/s of those."""
    clients, from_s = Many(url, plan, BULK), time.monotonic()
    asked = one(url, plan)
    until_s = time.monotonic()
    return asked, rate(clients.end(), from_s, until_s)


def add_round(found: Found, url: str, plan: Plan) -> None:
    """Each phase once."""
    time.sleep(SETTLE_S)
    found.idle += one(url, plan)
    asked, bulk = both(url, plan)
    found.beside += asked
    found.bulk_beside.append(bulk)
    found.saturated.append(many(url, plan, {}))
    found.bulk_alone.append(many(url, plan, BULK))


def preempted(url: str) -> float:
    """Rows whose run was ended; NaN where that is not counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        counts = having(read_metrics(answer.read().decode()), PREEMPTED, {})
    return sum(counts) if counts else math.nan


def row_of(label: str, found: Found, lost: float) -> tuple[str, ...]:
    """A line of the table."""
    idle_p99, beside_p99 = (percentile(asked, 99) for asked in (found.idle, found.beside))
    alone, saturated = median(found.bulk_alone), median(found.saturated)
    return (
        label,
        f"{percentile(found.idle, 50):.1f} / {idle_p99:.1f}",
        f"{percentile(found.beside, 50):.1f} / {beside_p99:.1f}",
        f"{beside_p99 / idle_p99:.2f} x",
        f"{median(found.bulk_beside):.1f}",
        f"{alone:.1f}",
        f"{saturated:.1f}",
        f"{alone / saturated:.2f}",
        f"{lost:.0f}",
    )


def measure(checkouts: Sequence[Path], models: Path, plan: Plan, rounds: int) -> Table:
    """All rounds. Raises BenchError when a server does not start, or refuses requests."""
    table = Table(
        "server", "idle p50 / p99, ms", "beside bulk", "p99", "bulk/s beside", "bulk/s alone",
        "saturated/s", "share", "rows preempted",
        title=f"{rounds} rounds of {plan.seconds:g} s, {plan.per_s:g}/s beside {plan.clients}",
    )  # fmt: skip
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(models, checkout=checkout)) for checkout in checkouts]
        found = [Found() for _ in urls]
        for _ in track(range(rounds), "rounds", transient=True):
            for each, url in zip(found, urls, strict=True):
                add_round(each, url, plan)
        for each, url, checkout in zip(found, urls, checkouts, strict=True):
            table.add_row(*row_of(str(checkout), each, preempted(url)))
    return table


def main(
    name: Annotated[str, typer.Option("--workload", help="`heavy`, or one of those made")] = NAME,
    row_ms: Annotated[float, typer.Option(min=0.1, help="CPU of a row of heavy")] = 10.0,
    per_s: Annotated[float, typer.Option(min=0.1, help="Interactive requests")] = 5.0,
    clients: Annotated[int, typer.Option(min=1, help="In a closed loop")] = 32,
    seconds: Annotated[float, typer.Option(min=1.0, help="Per phase")] = 6.0,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    before: Annotated[list[Path] | None, typer.Option(help="Other checkouts, in turns")] = None,
    out: Annotated[Path, typer.Option(help="Where the workloads were made")] = FOLDER,
) -> None:
    """Measure and print."""
    checkouts = [*(path.resolve() for path in before or []), REPOSITORY]
    with TemporaryDirectory() as folder:
        models, body = Path(folder), BODY
        if name == NAME:
            write_heavy(models, row_ms)
        else:
            assets = Assets(out.resolve())
            body = assets.bodies(workload(name).name)[0]
            models = assets.bundle(name).parent
        plan = Plan(f"/models/{name}/predict", body, per_s, clients, seconds)
        Console().print(measure(checkouts, models, plan, rounds))


if __name__ == "__main__":
    run(main)
