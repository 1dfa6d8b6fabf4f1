"""Handing in and waiting for results, as a person sees it: bars, a summary, a way to go on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inferctl.cli.ending import end_as_by_ctrl_c
from inferctl.client import Client, ClientError, Outcome
from inferctl.errors import PredictError
from inferctl.predict import Summary
from inferctl.predict.jobs import Order, Submitted, notes_of, submit_all
from inferctl.predict.output import Results, line_of

INTERRUPTED = 130

Shown = Callable[[int, int | None, int], None]


class Waiting:
    """One command's wait, which Ctrl-C ends, and not the jobs; it says how to go on."""

    def __init__(self, client: Client, url: str) -> None:
        end_as_by_ctrl_c()
        self._client, self._url = client, url
        self._ids: list[str] = []
        self._total = 0
        self._summary = Summary()

    def submit(self, order: Order) -> None:
        """Hand in, and print the ids. Raises InferctlError, also where an input is in no job."""
        with self._ending(None):
            jobs, names = self._submitted(order)
            sys.stdout.writelines(f"{job.id}\n" for job in jobs.jobs)
        for place, error in sorted(jobs.errors.items()):
            sys.stderr.write(f"inferctl: not submitted: {names[place]}: {error}\n")
        if jobs.errors:
            what = f"{len(jobs.errors)} of {jobs.items} items were not submitted"
            raise PredictError(what, where=self._url)

    def submit_and_write(self, order: Order, output: Path | None) -> None:
        """Hand in, and write what becomes of it. Raises InferctlError."""
        with Results(output) as results, self._ending(results.partial):
            jobs, names = self._submitted(order)
            self._write(zip(names, jobs.results(), strict=True), results)
        self._summary.check(output)

    def write(self, ids: Sequence[str], output: Path | None) -> None:
        """Write what becomes of jobs that were handed in before. Raises InferctlError."""
        self._ids = [*ids]
        with self._ending(None):
            self._total = sum(self._client.job(job_id).status().items for job_id in ids)
        named = (
            (f"{job_id}.{number}", outcome)
            for job_id in ids
            for number, outcome in enumerate(self._client.job(job_id).results())
        )
        with Results(output) as results, self._ending(results.partial):
            self._write(named, results)
        self._summary.check(output)

    def _submitted(self, order: Order) -> Submitted:
        with _progress("Submitting", None) as shown:
            submitted = submit_all(order, self._client, lambda done, total: shown(done, total, 0))
        self._ids = [job.id for job in submitted.jobs.jobs]
        self._total = submitted.jobs.items
        count = self._total - len(submitted.jobs.errors)
        sys.stderr.write(f"submitted {count} items: {' '.join(self._ids) or 'no job'}\n")
        return submitted

    def _write(self, named: Iterable[tuple[str, Outcome]], results: Results) -> None:
        begun_s = time.monotonic()
        with _progress("Waiting", self._total) as shown:
            for name, outcome in named:
                results.write(line_of(name, outcome))
                self._summary.add(outcome)
                shown(self._summary.items, self._total, self._summary.failed)
        console = Console(file=sys.stderr, highlight=False)
        console.print(self._summary.table(time.monotonic() - begun_s))

    @contextmanager
    def _ending(self, partial: Path | None) -> Iterator[None]:
        """Say how far it came and how to go on, where it ends early. Raises PredictError."""
        try:
            yield
        except ClientError as error:
            what = f"{error.detail}, after {self._summary.items} of {self._total} items"
            raise PredictError(what, where=self._url, hint=f"go on: {self._again()}") from None
        except KeyboardInterrupt as interrupt:
            if not self._ids:
                left = "; ".join(notes_of(interrupt)) or "nothing was submitted"
                sys.stderr.write(f"inferctl: interrupted: {left}\n")
                sys.exit(INTERRUPTED)
            kept = f", which are in {partial}" if partial and self._summary.items else ""
            sys.stderr.write(
                f"inferctl: interrupted after {self._summary.items} of {self._total} items{kept}; "
                f"what was submitted goes on; its results: {self._again()}\n"
            )
            sys.exit(INTERRUPTED)

    def _again(self) -> str:
        return f"inferctl jobs results {' '.join(self._ids)} --url {self._url}"


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Shown]:
    """Show on stderr how many are done of how many, how fast, and how many of them failed."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[failed]}", style="red"),
        TimeRemainingColumn(),
    )
    begun_s = time.monotonic()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("", total=total, rate="", failed="")

        def update(done: int, total: int | None, failed: int) -> None:
            rate = done / max(time.monotonic() - begun_s, 1e-3)
            told = f"{failed} failed" if failed else ""
            shown.update(row, completed=done, total=total, rate=f"{rate:.1f}/s", failed=told)

        yield update
