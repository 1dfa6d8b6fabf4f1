"""The chart of the README: what a batching policy gives and what it costs, by number of clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Only the benchmarks extra installs it; the gate runs without.
import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib.axes import Axes  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]
from matplotlib.ticker import LogLocator, NullFormatter  # type: ignore[import-not-found,unused-ignore]

from benchmarks.load import Point
from benchmarks.policies import DEFAULT, FIRST_COME, NONE, WINDOW
from benchmarks.report import by_setting, median, per_s
from inferctl.errors import BenchError

WIDTH_IN, HEIGHT_IN, DPI = 10, 4.4, 160
INK = "#333333"
# Above the axes: inside, there is no corner that some curve does not reach.
LEGEND: dict[str, Any] = {
    "frameon": False,
    "loc": "lower left",
    "bbox_to_anchor": (-0.02, 0.99),
    "fontsize": 10,
    "columnspacing": 1.2,
    "handlelength": 1.6,
}


@dataclass(frozen=True, slots=True)
class Line:
    """How a policy is drawn: colours of Okabe and Ito, and a marker for who sees none."""

    policy: str
    colour: str
    marker: str
    label: str


IDLE_FIRST = Line(DEFAULT, "#0072B2", "o", "idle-first (default)")
TRADE = (
    Line(NONE, "#999999", "s", "no batching"),
    Line(WINDOW, "#E69F00", "^", "10 ms window"),
    IDLE_FIRST,
)
LENGTHS = (
    Line(FIRST_COME, "#D55E00", "D", "first come, first served"),
    Line(DEFAULT, "#0072B2", "o", "with their like (default)"),
)
TITLES = {"text": "text: MiniLM, 5-60 words", "mlp": "mlp: the server's own work"}


@dataclass(frozen=True, slots=True)
class Curve:
    """Medians of a policy by number of clients."""

    clients: list[int]
    requests_per_s: list[float]
    p50_ms: list[float]


def draw(points: Iterable[Point], path: Path) -> None:
    """Write a PNG, a panel for each comparison that was measured. Raises BenchError for none."""
    curves = curves_of(points)
    panels = [
        (workload, lines, title)
        for workload in dict.fromkeys(workload for workload, _ in curves)
        for lines, title in (
            (TRADE, f"Batching policy · {TITLES.get(workload, workload)}"),
            (LENGTHS, f"Which rows share a batch · {TITLES.get(workload, workload)}"),
        )
        if all((workload, line.policy) in curves for line in lines)
    ]
    if not panels:
        raise BenchError("no policy is measured that could be drawn", hint="measure them first")
    mpl.rcParams.update({"font.size": 11, "text.color": INK, "axes.labelcolor": INK})
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white", layout="constrained")
    one_scale = len({workload for workload, _, _ in panels}) == 1
    row = figure.subplots(1, len(panels), squeeze=False, sharey=one_scale)[0]
    for axes, (workload, lines, title) in zip(row, panels, strict=True):
        draw_panel(axes, title, [(line, curves[workload, line.policy]) for line in lines])
    row[0].set_ylabel("p50 latency, ms (log)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def curves_of(points: Iterable[Point]) -> dict[tuple[str, str], Curve]:
    """A curve for each workload and policy, by clients ascending."""
    curves: dict[tuple[str, str], Curve] = {}
    groups = by_setting(points)
    for setting in sorted(groups, key=lambda setting: setting.clients):
        curve = curves.setdefault((setting.workload, setting.config), Curve([], [], []))
        curve.clients.append(setting.clients)
        curve.requests_per_s.append(median(groups[setting], per_s))
        curve.p50_ms.append(median(groups[setting], lambda point: point.load.p50_ms))
    return curves


def draw_panel(axes: Axes, title: str, lines: list[tuple[Line, Curve]]) -> None:
    """Right is more, down is sooner; a point for each number of clients."""
    for line, curve in lines:
        axes.plot(
            curve.requests_per_s,
            curve.p50_ms,
            color=line.colour,
            marker=line.marker,
            markersize=6,
            linewidth=2,
            label=line.label,
        )
    last = lines[-1][1]
    for clients, x, y in zip(last.clients, last.requests_per_s, last.p50_ms, strict=True):
        axes.annotate(
            f"{clients}",
            (x, y),
            xytext=(7, -11),
            textcoords="offset points",
            color=lines[-1][0].colour,
            fontsize=9,
        )
    axes.set_title(title, fontsize=11, loc="left", pad=28)
    axes.set_xlabel("requests/s (numbers at points: clients)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    axes.grid(visible=True, which="major", color="#E5E5E5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=len(lines), **LEGEND)
