"""What a worker counts of jobs."""

from __future__ import annotations

from inferctl.arena.ledger import Block
from inferctl.jobs.job import OPEN, Report, Swept


class Accounts:
    """In the worker's own block: what ended here, and what sweeps found."""

    def __init__(self, block: Block) -> None:
        self._block = block

    def ended(self, report: Report) -> None:
        """The store has heard how a job ended, or that it did not."""
        if report.state in ("done", "failed"):
            self._block.cell("inferctl_jobs_total", value=report.state).add()

    def stale(self, results: int) -> None:
        """So many come to nothing, for another has their job."""
        self._block.cell("inferctl_job_stale_results_total").add(results)

    def show(self, swept: Swept) -> None:
        """One worker says for all how many jobs are open."""
        for state in OPEN:
            cell = self._block.cell("inferctl_jobs_open", value=state)
            cell.set(swept.by_state.get(state, 0))

    def swept(self, swept: Swept) -> None:
        """What a sweep found."""
        self._block.cell("inferctl_job_redeliveries_total").add(swept.redelivered)
        self._block.cell("inferctl_jobs_total", value="failed").add(swept.exhausted)
        self._block.cell("inferctl_jobs_total", value="expired").add(swept.expired)
