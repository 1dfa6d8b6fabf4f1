"""Medians over rounds, and ratios within a round: the machine drifts, only neighbours compare."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.ceiling import Ceiling
from benchmarks.load import Point
from benchmarks.results import Overload, Results
from benchmarks.servers import OURS

Row = tuple[str, ...]
# Of what is not printed to a terminal.
WIDTH = 150


@dataclass(frozen=True, slots=True)
class Setting:
    """What a median is taken of: a server with a configuration at a number of clients."""

    workload: str
    clients: int
    server: str
    config: str

    @property
    def label(self) -> str:
        """Server and configuration."""
        return f"{self.server} ({self.config})"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table, before it is drawn."""

    title: str
    columns: Row
    rows: Sequence[Row]

    def drawn(self) -> Table:
        """For the terminal."""
        table = Table(*self.columns, title=self.title)
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For the README."""
        lines = [f"**{self.title}**", "", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([*lines, *map(_line, self.rows)]) + "\n"


def print_sheets(made: Iterable[Sheet], *, markdown: bool) -> None:
    """Draw them, or write them for a document."""
    # A file or a pipe has no width to respect.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for sheet in made:
        if markdown:
            console.print(sheet.markdown(), soft_wrap=True, markup=False, highlight=False)
        else:
            console.print(sheet.drawn())


def by_setting(points: Iterable[Point]) -> dict[Setting, list[Point]]:
    """Points of the same setting, one a round."""
    groups: dict[Setting, list[Point]] = defaultdict(list)
    for point in points:
        setting = Setting(point.workload, point.clients, point.server, point.config)
        groups[setting].append(point)
    return dict(groups)


def median(points: Iterable[Point], figure: Callable[[Point], float]) -> float:
    """Over rounds."""
    return statistics.median(map(figure, points))


def per_s(point: Point) -> float:
    """The figure that servers are ranked by."""
    return point.load.requests_per_s


def faulty(points: Iterable[Point]) -> int:
    """Requests that were not answered with 2xx."""
    return sum(p.load.failed + p.load.socket_errors + p.load.timeouts for p in points)


def ratio(ours: Iterable[Point], theirs: Iterable[Point]) -> float | None:
    """The median of requests/s against those of the same round; None without a common round."""
    others = {point.round: per_s(point) for point in theirs}
    ratios = [per_s(point) / others[point.round] for point in ours if others.get(point.round)]
    return statistics.median(ratios) if ratios else None


def ceiling_ratio(points: Iterable[Point], ceilings: Iterable[Ceiling]) -> float | None:
    """The median of requests/s against the highest ceiling of the same round."""
    highest: dict[int, float] = {}
    for ceiling in ceilings:
        highest[ceiling.round] = max(highest.get(ceiling.round, 0.0), ceiling.items_per_s)
    ratios = [per_s(point) / highest[point.round] for point in points if highest.get(point.round)]
    return statistics.median(ratios) if ratios else None


def best_peer(groups: dict[Setting, list[Point]], workload: str, clients: int) -> Setting | None:
    """The peer's setting with the most requests/s; one that failed requests is out."""
    found = [
        setting
        for setting, points in groups.items()
        if (setting.workload, setting.clients) == (workload, clients)
        and setting.server != OURS
        and not faulty(points)
    ]
    return max(found, key=lambda setting: median(groups[setting], per_s), default=None)


def sheets(results: Results) -> list[Sheet]:
    """Every table that the results give."""
    made = []
    for workload in dict.fromkeys(point.workload for point in results.points):
        if any(point.server != OURS for point in results.points if point.workload == workload):
            made.append(summary_sheet(results, workload))
        made.append(detail_sheet(results, workload))
    if results.ceilings:
        made.append(ceiling_sheet(results.ceilings))
    if results.overloads:
        made.append(overload_sheet(results.overloads))
    return made


def summary_sheet(results: Results, workload: str) -> Sheet:
    """inferctl beside the best peer and the ceiling, a row for each number of clients."""
    groups = by_setting(point for point in results.points if point.workload == workload)
    ceilings = [one for one in results.ceilings if one.workload == workload]
    rows = []
    for setting, points in sorted(groups.items(), key=lambda item: item[0].clients):
        if setting.server != OURS:
            continue
        best = best_peer(groups, workload, setting.clients)
        theirs = groups[best] if best else []
        rows.append(
            (
                str(setting.clients),
                *figures(points),
                best.label if best else "-",
                *(figures(theirs)[:2] if theirs else ("-", "-")),
                _times(ratio(points, theirs)),
                _share(ceiling_ratio(points, ceilings)),
            )
        )
    columns = (
        *("clients", "requests/s", "p50 / p99 ms", "CPU ms each", "PSS MB"),
        *("best peer", "its requests/s", "its p50 / p99 ms", "of best peer", "of ceiling"),
    )
    return Sheet(f"{workload}: inferctl", columns, rows)


def detail_sheet(results: Results, workload: str) -> Sheet:
    """Every server and configuration."""
    groups = by_setting(point for point in results.points if point.workload == workload)
    rows = [
        (
            str(setting.clients),
            setting.label,
            *figures(points),
            f"{median(points, lambda point: point.cost.load_cpu_s):.2f}",
            f"{median(points, lambda point: point.cost.others_cpu_s):.2f}",
            str(faulty(points)),
            str(len(points)),
        )
        for setting, points in sorted(groups.items(), key=lambda item: item[0].clients)
    ]
    columns = (
        *("clients", "server", "requests/s", "p50 / p99 ms", "CPU ms each", "PSS MB"),
        *("load CPU s", "others CPU s", "failed", "rounds"),
    )
    return Sheet(f"{workload}: all servers, medians", columns, rows)


def ceiling_sheet(ceilings: list[Ceiling]) -> Sheet:
    """The machine without a server."""
    groups: dict[tuple[str, str, int], list[Ceiling]] = defaultdict(list)
    for one in ceilings:
        groups[one.workload, one.plan, one.processes].append(one)
    rows = [
        (
            workload,
            plan,
            str(processes),
            number(statistics.median(one.items_per_s for one in found)),
            number(statistics.median(one.cpu_ms_per_item for one in found)),
            number(statistics.median(one.p50_ms for one in found)),
        )
        for (workload, plan, processes), found in groups.items()
    ]
    columns = ("workload", "plan", "processes", "items/s", "CPU ms each", "p50 of a batch, ms")
    return Sheet("No server: JSON to JSON in plain processes, medians", columns, rows)


def overload_sheet(overloads: list[Overload]) -> Sheet:
    """Servers under far too many clients."""
    rows = [
        (
            f"{one.server} ({one.config})",
            number(one.before.requests_per_s),
            number(one.during.requests_per_s),
            f"{number(one.during.p50_ms)} / {number(one.during.p99_ms)}",
            ", ".join(f"{status}: {n}" for status, n in sorted(one.during.statuses.items())),
            str(one.during.socket_errors + one.during.timeouts),
            f"{one.pss_before_mb:.0f} / {one.pss_after_mb:.0f}",
            "never" if one.recovery_s is None else f"{one.recovery_s:.2f}",
        )
        for one in overloads
    ]
    columns = (
        *("server", "good/s before", "good/s during", "p50 / p99 ms", "answers by status"),
        *("socket errors", "PSS MB before / after", "recovery s"),
    )
    clients = ", ".join(sorted({str(one.clients) for one in overloads}))
    return Sheet(f"{overloads[0].workload}: overload of {clients} clients", columns, rows)


def figures(points: list[Point]) -> Row:
    """Requests/s, latencies, CPU and memory of a setting."""
    return (
        number(median(points, per_s)),
        f"{number(median(points, lambda point: point.load.p50_ms))} / "
        f"{number(median(points, lambda point: point.load.p99_ms))}",
        number(median(points, lambda point: point.cost.cpu_ms_per_request)),
        f"{median(points, lambda point: point.cost.pss_mb):.0f}",
    )


def number(value: float) -> str:
    """Three digits that matter."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} x"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
