"""What is left of a server's work when far too many ask: `python -m benchmarks.shedding`.

The server has one core, the crowd (wrk) and the onlookers another. Peak is what it answers when
eight clients wait for it; then a crowd asks for a multiple of that. Reported are goodput as a share
of the peak, refusals as clients see them, health checks meanwhile, and how soon after the crowd one
client at half load is served as before.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.asking import Asked, Asking, percentile
from benchmarks.command import run
from benchmarks.flood import Crowd, Flood, Flooding, pinned
from benchmarks.heavy import BODY, NAME, write_heavy
from benchmarks.servers import serving
from inferctl.errors import BenchError

SERVER_CORE, CROWD_CORE = 0, 1
PATH = f"/models/{NAME}/predict"
HEALTH = ("/livez", "/readyz", "/metrics")
HEALTH_PER_S = 30
CLIENTS_AT_PEAK = 8
TIMES = (2, 5, 10)
# Between an answer and the next request of a connection, and so much of the deadline at least.
PAUSE_S, QUEUE_IS_FULL = 0.3, 1.1
# A server has room for so many, and closes those that are idle before.
MOST_CONNECTIONS = 600
# The load whose latency is to be what it was, as a share of the peak, and its connections.
HALF, HALF_CONNECTIONS = 0.5, 16
# How much slower than before is as before, and over how long that is judged.
AS_BEFORE, JUDGED_S = 1.2, 2.0
RECOVERY_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """A model, a body, a deadline, and how long each phase takes."""

    row_ms: float = 10.0
    body_bytes: int = 10_000
    timeout_ms: int = 1000
    seconds: float = 10.0

    def crowd(self, times: float, peak: float) -> Crowd:
        """One that asks for so many times the peak, however soon it is answered.

        That is more than all who could wait in a queue as long as the deadline: they would not ask.
        """
        pause_s = min(PAUSE_S, MOST_CONNECTIONS / (times * peak))
        pause_s = max(pause_s, QUEUE_IS_FULL * self.timeout_ms / 1000 / (times - 1))
        return Crowd(
            connections=round(times * peak * pause_s),
            pause_ms=1000 * pause_s,
            body_bytes=self.body_bytes,
            timeout_ms=self.timeout_ms,
        )


def served(models: Path) -> AbstractContextManager[str]:
    """inferctl on its core; the URL. Raises BenchError when it does not start."""
    return serving(models, prefix=pinned(SERVER_CORE))


def flood(url: str, crowd: Crowd, seconds: float) -> Flood:
    """A crowd for some seconds."""
    return Flooding(url + PATH, crowd, seconds, CROWD_CORE).result()


def peak_of(url: str, plan: Plan) -> float:
    """Answers/s when a few clients wait for them; the first seconds warm it up."""
    few = Crowd(CLIENTS_AT_PEAK, body_bytes=plan.body_bytes)
    flood(url, few, min(2.0, plan.seconds))
    return flood(url, few, plan.seconds).goodput


def health_of(url: str, crowd: Crowd, seconds: float) -> list[Asked]:
    """Health checks while a crowd asks."""
    flooding = Flooding(url + PATH, crowd, seconds, CROWD_CORE)
    with Asking(url, HEALTH, HEALTH_PER_S) as asking:
        flooding.result()
    return asking.asked


def recovery_of(url: str, plan: Plan, peak: float) -> tuple[float, float]:
    """p99 at half load, ms, and seconds after ten times the load until it is so again.

    Raises BenchError when half the load is too much.
    """
    half = Asking(url, [PATH], HALF * peak, HALF_CONNECTIONS, BODY)
    with half:
        time.sleep(plan.seconds)
    before_ms = percentile(half.asked, 99)
    if not math.isfinite(before_ms):
        raise BenchError("some were not answered at half the load", hint="nothing else may run")
    flood(url, plan.crowd(10, peak), plan.seconds)
    over_s = time.monotonic()
    after = Asking(url, [PATH], HALF * peak, HALF_CONNECTIONS, BODY)
    with after:
        time.sleep(plan.seconds)
    return before_ms, recovered(after.asked, over_s, before_ms)


def recovered(asked: Sequence[Asked], over_s: float, before_ms: float) -> float:
    """Seconds from `over_s` on until requests are as quick as before for a while; or infinite."""
    last_s = max((one.at_s for one in asked), default=over_s) - JUDGED_S
    for step in range(math.floor((last_s - over_s) / RECOVERY_STEP_S) + 1):
        from_s = over_s + step * RECOVERY_STEP_S
        window = [one for one in asked if from_s <= one.at_s < from_s + JUDGED_S]
        if percentile(window, 99) <= AS_BEFORE * before_ms:
            return step * RECOVERY_STEP_S
    return math.inf


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and those that it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Shedding:
    """What was measured: answers/s at peak, floods by their multiple of it, and onlookers."""

    peak: float
    floods: dict[int, Flood]
    health: list[Asked]
    before_ms: float
    recovery_s: float


def measure(plan: Plan) -> Shedding:
    """All phases of a plan. Raises UsageError without wrk, BenchError when something fails."""
    with (
        TemporaryDirectory() as folder,
        on_core(CROWD_CORE),
    ):
        write_heavy(Path(folder), plan.row_ms)
        with served(Path(folder)) as url:
            peak = peak_of(url, plan)
            floods = {times: flood(url, plan.crowd(times, peak), plan.seconds) for times in TIMES}
            health = health_of(url, plan.crowd(10, peak), plan.seconds)
            return Shedding(peak, floods, health, *recovery_of(url, plan, peak))


def row_of(label: str, flood: Flood, peak: float) -> tuple[str, ...]:
    """A line of the table."""
    statuses = " ".join(f"{status}:{count}" for status, count in sorted(flood.statuses.items()))
    return (
        label,
        f"{flood.offered:,.0f} ({flood.offered / peak:.1f} x)",
        f"{flood.goodput:,.1f}",
        f"{flood.goodput / peak:.1%}",
        f"{flood.in_time:.1%}",
        f"{flood.shed_p50_ms:.2f} / {flood.shed_p99_ms:.2f}",
        f"{flood.p99_ms:.0f}",
        f"{statuses}, {flood.errors} errors, Retry-After: {flood.moments} values",
    )


def main(
    row_ms: Annotated[float, typer.Option(min=0.1, help="CPU of a row")] = 10.0,
    body_kb: Annotated[float, typer.Option(min=0.1, help="Of each request")] = 10.0,
    timeout_ms: Annotated[int, typer.Option(min=1, help="Deadline of the crowd")] = 1000,
    seconds: Annotated[float, typer.Option(min=1.0, help="Per phase")] = 10.0,
) -> None:
    """Measure and print."""
    plan = Plan(row_ms, round(1000 * body_kb), timeout_ms, seconds)
    table = Table(
        "load", "offered/s", "goodput/s", "of peak", "in time", "shed p50 / p99, ms", "p99, ms",
        "answers", title=f"{row_ms:g} ms rows, {body_kb:g} KB bodies, {timeout_ms} ms deadlines",
    )  # fmt: skip
    found = measure(plan)
    table.add_row("peak", "", f"{found.peak:,.1f}")
    for times, one in found.floods.items():
        table.add_row(*row_of(f"{times} x", one, found.peak))
    health = found.health
    console = Console()
    console.print(table)
    failed = sum(one.status != 200 for one in health)
    console.print(
        f"health at 10 x: p50 {percentile(health, 50):.1f} ms, p99 {percentile(health, 99):.1f} ms,"
        f" {failed} of {len(health)} not 200"
    )
    console.print(
        f"half load: p99 {found.before_ms:.1f} ms, again {found.recovery_s:.1f} s after 10 x"
    )


if __name__ == "__main__":
    run(main)
