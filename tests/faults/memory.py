"""What a service keeps in memory over time, and whether that is a leak.

Counted is what belongs to its processes alone, each page that several have as that part of it which
falls to one: the pages of files, libraries most of all, belong to whoever else maps them too, and
come and go with other programs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.tree import PROC, ProcessTree

KIB_PER_MIB = 1024
S_PER_H = 3600.0
COUNTED = ("Pss_Anon:", "Pss_Shmem:")

# The bounds of row 185.
MAX_SLOPE_MIB_PER_H = 1.0
MAX_UPPER_MIB_PER_H = 3.0
MAX_ABOVE_MEAN_MIB = 10.0
# Two sides of 95 % of a normal distribution.
STANDARD_ERRORS = 1.96


class Sample(NamedTuple):
    """How much it was at a time."""

    at_s: float
    mib: float


@dataclass(frozen=True)
class Trend:
    """A line through the samples: its slope, and where that may end with 95 % confidence."""

    hours: float
    slope_mib_per_h: float
    upper_mib_per_h: float
    above_mean_mib: float

    def complaints(self) -> list[str]:
        """What is over its bound; nothing for what does not leak."""
        short = min(self.hours, 1.0)
        found = {
            "slope, MiB/h": (self.slope_mib_per_h * short, MAX_SLOPE_MIB_PER_H),
            "its upper 95 % bound, MiB/h": (self.upper_mib_per_h * short, MAX_UPPER_MIB_PER_H),
            "largest above the mean, MiB": (self.above_mean_mib, MAX_ABOVE_MEAN_MIB),
        }
        return [
            f"{name}: {is_:.2f} > {most:g}" for name, (is_, most) in found.items() if is_ > most
        ]


def trend_of(samples: Sequence[Sample]) -> Trend:
    """Fit a line by least squares to at least three samples.

    What is left of neighbours is alike, so that n samples say as little as fewer independent ones;
    their number follows from how alike (Bayley and Hammersley's, to the first order).
    """
    hours = np.array([sample.at_s for sample in samples]) / S_PER_H
    mib = np.array([sample.mib for sample in samples])
    centred = hours - hours.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (mib - mib.mean())) / spread
    rest = mib - mib.mean() - slope * centred
    squares = float(rest @ rest)
    alike = float(rest[1:] @ rest[:-1]) / squares if squares > 0 else 0.0
    alike = min(max(alike, 0.0), 0.95)
    independent = max(len(samples) * (1 - alike) / (1 + alike), 3.0)
    error = math.sqrt(squares / (independent - 2) / spread)
    return Trend(
        hours=float(hours[-1] - hours[0]),
        slope_mib_per_h=slope,
        upper_mib_per_h=slope + STANDARD_ERRORS * error,
        above_mean_mib=float(mib.max() - mib.mean()),
    )


class Scales:
    """Weighs a service."""

    def __init__(self, pid: int) -> None:
        self._tree = ProcessTree(pid)

    def _pids(self) -> list[int]:
        return [process.pid for process in self._tree.processes() if not process.ended]

    def weigh_mib(self) -> float:
        """Memory of all its processes now."""
        return sum(map(_counted_kib, self._pids())) / KIB_PER_MIB

    def count(self) -> tuple[int, int]:
        """Descriptors and threads of all of them now."""
        folders = [PROC / str(pid) for pid in self._pids()]
        descriptors, threads = (
            sum(len(list((folder / what).iterdir())) for folder in folders)
            for what in ("fd", "task")
        )
        return descriptors, threads


def _counted_kib(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(COUNTED))


def write_report(
    folder: Path, name: str, samples: Sequence[Sample], trend: Trend, facts: dict[str, object]
) -> Path:
    """The samples and what was made of them as JSON, and as a picture beside it."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.json"
    whole = {"trend": asdict(trend), "complaints": trend.complaints(), **facts, "samples": samples}
    file.write_text(json.dumps(whole, indent=1) + "\n")
    file.with_suffix(".svg").write_text(chart(samples, trend, name))
    return file


WIDTH, HEIGHT, MARGIN = 720, 260, 50


def chart(samples: Sequence[Sample], trend: Trend, name: str) -> str:
    """The samples as a line, with 10 MiB of room around it, so that a flat one looks flat."""
    first_s, last_s = samples[0].at_s, samples[-1].at_s
    mean = sum(sample.mib for sample in samples) / len(samples)
    least = min(mean - MAX_ABOVE_MEAN_MIB, *(sample.mib for sample in samples))
    most = max(mean + MAX_ABOVE_MEAN_MIB, *(sample.mib for sample in samples))

    def x(at_s: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (at_s - first_s) / max(last_s - first_s, 1.0)

    def y(mib: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (mib - least) / (most - least)

    points = " ".join(f"{x(at_s):.1f},{y(mib):.1f}" for at_s, mib in samples)
    title = (
        f"{name}: {trend.hours * 60:.0f} min, {trend.slope_mib_per_h:+.2f} MiB/h "
        f"(up to {trend.upper_mib_per_h:+.2f})"
    )
    marks = "".join(
        f'<text x="4" y="{y(mib) + 4:.1f}">{mib:.0f} MiB</text>'
        f'<path d="M{MARGIN} {y(mib):.1f}H{WIDTH - MARGIN}" stroke="#ccc"/>'
        for mib in (least, mean, most)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{MARGIN}" y="24">{title}</text>{marks}'
        f'<polyline points="{points}" fill="none" stroke="#1668b8" stroke-width="1.5"/></svg>\n'
    )
