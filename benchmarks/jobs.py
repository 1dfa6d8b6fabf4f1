"""What jobs cost: `python -m benchmarks.jobs [--count 10000] [--rounds 3]`.

In each round the same service is asked at saturation by /predict, and is given as many jobs of one
input each: their rate counts from the first submission to the last result. Then somebody asks at a
steady pace, while nothing else is done, and while jobs are: what waits for its answer must not
notice them.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Annotated
from urllib.parse import urlsplit

import orjson
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.asking import TIMEOUT_S, Asked, Asking, percentile
from benchmarks.command import FOLDER, run
from benchmarks.load import run_wrk
from benchmarks.servers import OURS, Running, Setup, started
from benchmarks.workloads import Assets, Workload, workload
from inferctl.errors import BenchError

ACCEPTED, TOO_MANY = 202, 429
JSON = {"Content-Type": "application/json"}
# A look costs the service some ms, which jobs could have: often only once few are left.
LONGEST_POLL_S, SHORTEST_POLL_S = 5.0, 0.05
# Nothing was done for so long: it will not be.
STUCK_S = 60.0
WARM_UP_S = 2
# Its waiting may be noticed by other threads of this process: the crowd is another's.
CONNECTIONS = 2


@dataclass(slots=True)
class Found:
    """Per second, of each round; ms of each request, while idle and while jobs were done."""

    predict_per_s: list[float] = field(default_factory=list)
    jobs_per_s: list[float] = field(default_factory=list)
    idle: list[Asked] = field(default_factory=list)
    busy: list[Asked] = field(default_factory=list)


def main(
    count: Annotated[int, typer.Option(min=1, help="Jobs of a round")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    name: Annotated[str, typer.Option("--workload")] = "vision",
    clients: Annotated[int, typer.Option(min=1, help="Of /predict at saturation")] = 32,
    seconds: Annotated[int, typer.Option(min=1, help="Of /predict, and of the pace")] = 20,
    per_s: Annotated[float, typer.Option(min=0.1, help="The steady pace")] = 10.0,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
) -> None:
    """Measure both in turn, so often; print medians."""
    found, made, chosen = Found(), Assets(assets), workload(name)
    with started(Setup(OURS, "default"), chosen, made, assets / "venvs") as server:
        bodies = [_job_of(chosen, body) for body in made.bodies(name)]
        run_wrk(server.url, made.bodies_file(name), clients, WARM_UP_S)
        for _ in range(rounds):
            load = run_wrk(server.url, made.bodies_file(name), clients, seconds)
            found.predict_per_s.append(load.requests_per_s)
            found.jobs_per_s.append(count / do_jobs(server, bodies, count))
            found.idle += paced(server, made.bodies(name)[0], per_s, seconds)
            found.busy += paced_among_jobs(server, made.bodies(name)[0], per_s, bodies, count)
    Console().print(table(found))


def _job_of(chosen: Workload, body: bytes) -> bytes:
    return b'{"model":%b,"item":%b}' % (orjson.dumps(chosen.name), body)


def do_jobs(server: Running, bodies: Sequence[bytes], count: int) -> float:
    """Seconds until so many jobs were taken in and are done. Raises BenchError."""
    begun_s, before, over = time.monotonic(), done_jobs(server), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(submit, server, bodies, count, over)
        try:
            wait_for(server, before + count, submitting)
        finally:
            over.set()
    return time.monotonic() - begun_s


def submit(server: Running, bodies: Sequence[bytes], count: int, over: threading.Event) -> None:
    """Have jobs taken in, one after the other, until it is `over`; whoever is told to come back
    later does. Raises BenchError when one is refused."""
    taken, pause_s = 0, 0.0
    with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=TIMEOUT_S)) as connection:
        while taken < count and not over.wait(pause_s):
            connection.request("POST", "/jobs", bodies[taken % len(bodies)], JSON)
            answer = connection.getresponse()
            answer.read()
            if answer.status == TOO_MANY:
                pause_s = int(answer.headers["retry-after-ms"]) / 1000
            elif answer.status == ACCEPTED:
                taken, pause_s = taken + 1, 0.0
            else:
                raise BenchError(f"a job was answered with {answer.status}", where=server.url)


def wait_for(server: Running, done: float, submitting: Future[None]) -> None:
    """Until so many jobs are done. Raises what submitting them does, and BenchError when nothing is
    done any more."""
    begun_s = since_s = time.monotonic()
    first = last = done_jobs(server)
    while (now := done_jobs(server)) < done:
        if submitting.done():
            submitting.result()
        if now != last:
            last, since_s = now, time.monotonic()
        elif time.monotonic() - since_s > STUCK_S:
            raise BenchError(f"{done - now:g} jobs are not done", where=server.url)
        each_s = (time.monotonic() - begun_s) / (now - first) if now > first else 0.0
        time.sleep(min(max((done - now) * each_s / 2, SHORTEST_POLL_S), LONGEST_POLL_S))


def done_jobs(server: Running) -> float:
    """How many the service has done."""
    url = f"http://{urlsplit(server.url).netloc}/metrics"
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    series = 'inferctl_jobs_total{state="done"} '
    return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))


def paced(server: Running, body: bytes, per_s: float, seconds: float) -> list[Asked]:
    """What one client among none sees."""
    with Asking(server.url, [urlsplit(server.url).path], per_s, CONNECTIONS, body) as asking:
        time.sleep(seconds)
    return asking.asked


def paced_among_jobs(
    server: Running, body: bytes, per_s: float, bodies: Sequence[bytes], count: int
) -> list[Asked]:
    """And among jobs."""
    with Asking(server.url, [urlsplit(server.url).path], per_s, CONNECTIONS, body) as asking:
        do_jobs(server, bodies, count)
    return asking.asked


def table(found: Found) -> Table:
    """Medians of the rounds, and percentiles of all requests together."""
    drawn = Table("", "/predict", "jobs", "ratio")
    predict, jobs = median(found.predict_per_s), median(found.jobs_per_s)
    drawn.add_row("per second", f"{predict:.1f}", f"{jobs:.1f}", f"{jobs / predict:.2f}")
    drawn.add_section()
    drawn.add_row("answered in, ms", "idle", "among jobs", "ratio")
    for percent in (50, 99):
        idle, busy = percentile(found.idle, percent), percentile(found.busy, percent)
        drawn.add_row(f"p{percent}", f"{idle:.1f}", f"{busy:.1f}", f"{busy / idle:.2f}")
    drawn.caption = f"{len(found.idle)} and {len(found.busy)} requests at the steady pace"
    return drawn


if __name__ == "__main__":
    run(main)
