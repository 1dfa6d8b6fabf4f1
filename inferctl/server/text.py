"""How numbers are written for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats.

What is written here needs no escapes: names, versions and outcomes are of a few characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from inferctl.arena.metric import Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Text:
    """One exposition, line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def begin(self, metric: Metric) -> None:
        """The series of a metric follow."""
        self._lines += (
            f"# HELP {metric.name} {metric.help}",
            f"# TYPE {metric.name} {metric.kind}",
        )

    def add(self, name: str, labels: str, value: float) -> None:
        """A series that is one number; `labels` as they are written, "" where it has none."""
        inside = f"{{{labels}}}" if labels else ""
        self._lines.append(f"{name}{inside} {number(value)}")

    def add_histogram(self, metric: Metric, labels: str, cells: Sequence[float]) -> None:
        """Its series; `cells` count each bucket alone, and what is above, and are their sum."""
        begin = f'{metric.name}_bucket{{{labels}{"," if labels else ""}le="'
        counts = [*accumulate(cells[:-1])]
        self._lines += [
            f'{begin}{bound}"}} {count:.0f}'
            for bound, count in zip(bounds_of(metric.buckets), counts, strict=True)
        ]
        self.add(f"{metric.name}_count", labels, counts[-1])
        self.add(f"{metric.name}_sum", labels, cells[-1])

    def written(self) -> bytes:
        """The whole of it."""
        return "\n".join((*self._lines, "")).encode("ascii")


def bounds_of(buckets: Iterable[float]) -> tuple[str, ...]:
    """Values of the label `le`."""
    return (*(repr(float(bound)) for bound in buckets), "+Inf")


def number(value: float) -> str:
    """A sample's value; counts without a point."""
    return str(int(value)) if value.is_integer() else repr(value)


def labels_of(**labels: str) -> str:
    """Labels as they are written."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())
