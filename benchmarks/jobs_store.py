"""Jobs through the SQLite store: `python -m benchmarks.jobs_store [--jobs 1000000]`.

One process takes them in, does and forgets them, and another one polls, as clients do. The clock is
the benchmark's: so many jobs a day, of which those of the last hours are kept. Live data is what
SQLite's own statistics count as content.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from benchmarks.command import run
from benchmarks.report import Sheet, print_sheets
from inferctl.deferral import JobsSettings
from inferctl.jobs.job import NewJob, Report, Result, new_job_id
from inferctl.jobs.owners import boottime_s, this_process
from inferctl.jobs.sqlite.opening import LOG, NAME
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.refusals import RequestError

DAY_S = 86_400.0
MIB = 1024 * 1024
POLLS_PER_S = 200
PARTS = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """What is done: sizes in bytes, `group` jobs together, of `per_day` those of `keep_h` kept."""

    input_bytes: int
    result_bytes: int
    group: int
    per_day: int
    keep_h: float


@dataclass(slots=True)
class Part:
    """What came of a part of the jobs. Bytes of the file, its log and its content are the largest
    of the part."""

    jobs_per_s: float
    file_bytes: int = 0
    log_bytes: int = 0
    live_bytes: int = 0
    poll_p50_ms: float = 0.0
    poll_p99_ms: float = 0.0


def main(
    jobs: Annotated[int, typer.Option(min=1000, help="Through the store")] = 100_000,
    input_bytes: Annotated[int, typer.Option(min=0)] = 2000,
    result_bytes: Annotated[int, typer.Option(min=0)] = 1000,
    group: Annotated[int, typer.Option(min=1, help="Jobs in a transaction")] = 50,
    per_day: Annotated[int, typer.Option(min=1, help="How fast the clock goes")] = 1_000_000,
    keep_h: Annotated[float, typer.Option(min=0.001, help="Results are kept")] = 0.25,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print for a document")] = False,
) -> None:
    """Do them and print what it cost."""
    shape = Shape(input_bytes, result_bytes, group, per_day, keep_h)
    with tempfile.TemporaryDirectory(prefix="jobs-") as folder:
        prepare_store(Path(folder), strict=True)
        parts = list(done(Path(folder), jobs, shape))
    print_sheets([sheet_of(parts, jobs)], markdown=markdown)


def done(folder: Path, jobs: int, shape: Shape) -> Iterator[Part]:
    """Part by part."""
    flow = Flow(folder, shape)
    with polling(folder) as polled:
        for _ in track(range(PARTS), "jobs", transient=True):
            part = flow.part(max(1, jobs // PARTS // shape.group))
            polls_ms = polled()
            part.poll_p50_ms = statistics.median(polls_ms)
            part.poll_p99_ms = statistics.quantiles(polls_ms, n=100)[-1]
            yield part
    flow.close()


class Flow:
    """Jobs come, are done, and expire."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self._file, self._log = folder / NAME, folder / (NAME + LOG)
        self._shape = shape
        self._now_s = 1e9
        settings = JobsSettings(keep_h=shape.keep_h)
        self._store = SqliteStore(folder, settings, lambda: self._now_s, boottime_s)
        self._owner = this_process()

    def part(self, groups: int) -> Part:
        """So many groups, with a sweep after each."""
        file_bytes = log_bytes = 0
        began_s = time.perf_counter()
        for _ in range(groups):
            self._group()
            file_bytes = max(file_bytes, self._file.stat().st_size)
            log_bytes = max(log_bytes, self._log.stat().st_size)
        per_s = groups * self._shape.group / (time.perf_counter() - began_s)
        with closing(sqlite3.connect(self._file)) as connection:
            ((live_bytes,),) = connection.execute("SELECT sum(payload) FROM dbstat").fetchall()
        return Part(per_s, file_bytes, log_bytes, live_bytes)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _group(self) -> None:
        shape = self._shape
        body, answer = random.randbytes(shape.input_bytes), random.randbytes(shape.result_bytes)
        jobs = [
            NewJob(new_job_id(), "m", "", "", "application/json", [body])
            for _ in range(shape.group)
        ]
        self._store.submit(jobs)
        claims = self._store.claim(self._owner, shape.group)
        for claim in claims:
            self._store.items(claim, 1, MIB)
        self._store.report([Report(claim, [Result(0, 200, answer)], "done") for claim in claims])
        self._now_s += DAY_S / shape.per_day * shape.group
        self._store.sweep()


@contextmanager
def polling(folder: Path) -> Iterator[Callable[[], list[float]]]:
    """Another process polls within the block; what it gives says how long polls took since it was
    asked before, in ms."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=poll, args=(folder, there), daemon=True)
    process.start()

    def asked() -> list[float]:
        here.send(None)
        found: list[float] = here.recv()
        return found

    asked()  # it is there
    yield asked
    process.terminate()
    process.join()


def poll(folder: Path, asked: Connection) -> None:
    """Looks at one of the newest jobs, so often a second, until it is terminated."""
    store = SqliteStore(folder, JobsSettings(), lambda: 0.0, boottime_s)
    took_ms: list[float] = []
    while True:
        if asked.poll():
            asked.recv()
            asked.send(took_ms)
            took_ms = []
        for job in store.page("", [], POLLS_PER_S // 10).jobs:
            began_s = time.perf_counter()
            with suppress(RequestError):  # it may be gone meanwhile
                store.find(job.id, "")
            took_ms.append((time.perf_counter() - began_s) * 1000)
            time.sleep(1 / POLLS_PER_S)


def sheet_of(parts: Sequence[Part], jobs: int) -> Sheet:
    """A line for each part."""
    columns = (
        "jobs", "jobs/s", "file, MiB", "live, MiB", "file / live", "log, MiB", "poll p50, ms",
        "poll p99, ms",
    )  # fmt: skip
    rows = [
        (
            f"{jobs * number // len(parts):,}", f"{part.jobs_per_s:,.0f}",
            f"{part.file_bytes / MIB:.1f}", f"{part.live_bytes / MIB:.1f}",
            f"{part.file_bytes / part.live_bytes:.2f}", f"{part.log_bytes / MIB:.1f}",
            f"{part.poll_p50_ms:.2f}", f"{part.poll_p99_ms:.2f}",
        )
        for number, part in enumerate(parts, 1)
    ]  # fmt: skip
    return Sheet("Jobs through the SQLite store", columns, rows)


if __name__ == "__main__":
    run(main)
