"""What a dashboard is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """A chart. `queries` are expressions by their legends, a line for each value of a label there.

    `unit` is Grafana's name of it; `kind` is timeseries, or heatmap of one query.
    """

    title: str
    says: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels of one subject."""

    title: str
    panels: tuple[Panel, ...]
