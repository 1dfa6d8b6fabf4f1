"""How numbers are written for Prometheus: in its text format, or in OpenMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats and https://prometheus.io/docs/specs/om.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

from inferctl.arena.exemplars import Exemplar
from inferctl.arena.metric import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS_TYPE = "application/openmetrics-text"
OPEN_METRICS_CONTENT_TYPE = f"{OPEN_METRICS_TYPE}; version=1.0.0; charset=utf-8"

INFO = "_info"
TOTAL = "_total"
# Of seconds: microseconds.
SUM_DIGITS = 6


class Text:
    """One exposition, line by line."""

    def __init__(self, *, open_metrics: bool = False) -> None:
        self._open_metrics = open_metrics
        self._lines: list[str] = []

    def begin(self, metric: Metric) -> None:
        """The series of a metric follow."""
        name, kind = metric.name, str(metric.kind)
        if self._open_metrics:
            if name.endswith(INFO):
                name, kind = name.removesuffix(INFO), "info"
            elif kind == "counter" and name.endswith(TOTAL):
                name = name.removesuffix(TOTAL)
            elif kind == "counter":  # a name that others gave
                kind = "unknown"
        self._lines += (f"# HELP {name} {metric.help}", f"# TYPE {name} {kind}")

    def add(self, name: str, labels: str, value: float) -> None:
        """A series that is one number; `labels` as they are written, "" where it has none."""
        inside = f"{{{labels}}}" if labels else ""
        self._lines.append(f"{name}{inside} {number(value)}")

    def add_histogram(
        self, metric: Metric, labels: str, cells: Sequence[float],
        exemplars: Sequence[Exemplar | None] = (),
    ) -> None:  # fmt: skip
        """Its series; `cells` count each bucket alone, and what is above, and are their sum.

        `exemplars` are of each bucket, or there are none.
        """
        begin = f'{metric.name}_bucket{{{labels}{"," if labels else ""}le="'
        counts = [*accumulate(cells[:-1])]
        lines = [
            f'{begin}{bound}"}} {int(count)}'
            for bound, count in zip(bounds_of(metric.buckets), counts, strict=True)
        ]
        for bucket, one in enumerate(exemplars):
            if one and self._open_metrics:
                trace = f'{{trace_id="{one.trace_id}"}}'
                lines[bucket] += f" # {trace} {one.latency_s!r} {one.ended_s:.3f}"
        self._lines += lines
        self.add(f"{metric.name}_count", labels, counts[-1])
        self.add(f"{metric.name}_sum", labels, round(cells[-1], SUM_DIGITS))

    def written(self) -> bytes:
        """The whole of it."""
        end = ("# EOF", "") if self._open_metrics else ("",)
        return "\n".join((*self._lines, *end)).encode()


@cache
def bounds_of(buckets: tuple[float, ...]) -> tuple[str, ...]:
    """Values of the label `le`."""
    return (*(repr(float(bound)) for bound in buckets), "+Inf")


def number(value: float) -> str:
    """A sample's value; counts without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def labels_of(**labels: str) -> str:
    """Labels as they are written."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    if value.isalnum():  # most of them
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
