"""What many claims came to, in one transaction: each costs little more than its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from inferctl.jobs.answers import settled
from inferctl.jobs.job import Report
from inferctl.jobs.sqlite.doing import Doing, keep_results, number_held
from inferctl.jobs.sqlite.rows import queue, spots


class Reporting(Doing):
    """Hears reports."""

    def report(self, reports: Sequence[Report]) -> set[str]:
        """See `Store.report`."""
        lost = set()
        # Their inputs are of no use any more.
        over = []
        with self._writing() as connection:
            for report in map(settled, reports):
                number = number_held(connection, report.claim)
                if number is None:
                    lost.add(report.claim.id)
                    continue
                keep_results(connection, number, report.results)
                if report.state == "queued":
                    self._queue(connection, number, report)
                elif report.state is not None:
                    kept = self._end(connection, number, report.state, report.problem)
                    if not kept and _has_inputs(connection, number):
                        over.append(number)
        for number in over:
            self._forget_inputs(number)
        return lost

    def _queue(self, connection: sqlite3.Connection, number: int, report: Report) -> None:
        """It waits again."""
        ready_s = self._steady() + report.after_s if report.after_s > 0 else 0.0
        queue(connection, number, ready_s, charged=report.charged)


def _has_inputs(connection: sqlite3.Connection, number: int) -> bool:
    ((left,),) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM inputs WHERE spot >= ? AND spot < ?)", spots(number)
    ).fetchall()
    return bool(left)
