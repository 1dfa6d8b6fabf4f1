"""The chart of docs/scaling.md: tail latency and batch size by rate, simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Only the benchmarks extra installs it; the gate runs without.
import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]
from matplotlib.axes import Axes  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter  # type: ignore[import-not-found,unused-ignore]

from benchmarks.scenarios import POLICIES, Policy
from benchmarks.simulation import Outcome

WIDTH_IN, HEIGHT_IN, DPI = 10, 4.4, 160
INK = "#333333"
GRID: dict[str, Any] = {"visible": True, "which": "major", "color": "#E5E5E5"}


@dataclass(frozen=True, slots=True)
class Style:
    """Colours of Okabe and Ito; the marker is for who sees none, the dashes for batches of 128."""

    colour: str
    marker: str
    dashes: str = "-"


STYLES = {
    "no batching": Style("#999999", "s"),
    "10 ms window, 32": Style("#E69F00", "^"),
    "idle-first, 32": Style("#0072B2", "o"),
    "10 ms window, 128": Style("#E69F00", "^", "--"),
    "idle-first, 128": Style("#0072B2", "o", "--"),
}


def draw(found: Mapping[tuple[float, Policy], Outcome], path: Path, timeout_s: float) -> None:
    """Write a PNG with two panels; `timeout_s` is drawn as the line that none may cross."""
    mpl.rcParams.update({"font.size": 11, "text.color": INK, "axes.labelcolor": INK})
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white", layout="constrained")
    tail, size = figure.subplots(1, 2)
    _draw_panel(tail, "p99 in the engine, ms", found, lambda one: one.percentile_s(99) * 1000)
    _draw_panel(size, "Mean batch, rows", found, lambda one: one.mean_batch)
    tail.axhline(timeout_s * 1000, color=INK, linewidth=1, linestyle=":")
    # Above the deadline, at the right: the no-batching curve reaches it at the left.
    tail.annotate(
        "deadline",
        (1, timeout_s * 1000),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    figure.legend(
        *tail.get_legend_handles_labels(), loc="outside upper left", ncols=5, frameon=False,
        fontsize=9.5, columnspacing=1.2, handlelength=2.4,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_panel(
    axes: Axes,
    title: str,
    found: Mapping[tuple[float, Policy], Outcome],
    figure: Callable[[Outcome], float],
) -> None:
    """One figure of every policy, by rate."""
    rates = sorted({rate for rate, _ in found})
    for policy in POLICIES:
        style = STYLES[policy.label]
        axes.plot(
            rates,
            [figure(found[rate, policy]) for rate in rates],
            color=style.colour,
            marker=style.marker,
            linestyle=style.dashes,
            markersize=5,
            linewidth=2,
            label=policy.label,
        )
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("rows/s offered (Poisson)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MultipleLocator(max(rates) / 4))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(left=0)
    axes.margins(y=0.12)
    axes.grid(**GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
