"""The dashboard: `make docs` writes inferctl.json, which is what Grafana reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from deploy.grafana.panel import Panel
from deploy.grafana.panels import ROWS

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of the columns that Grafana has, and the height of a panel in its units.
COLUMNS, WIDTH, HEIGHT = 24, 6, 8
Json = dict[str, Any]


def dashboard() -> Json:
    """The whole of it, as Grafana imports it."""
    return {
        "uid": "inferctl",
        "title": "inferctl",
        "tags": ["inferctl"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": list(_panels()),
    }


def dashboard_text() -> str:
    """inferctl.json."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _variables() -> list[Json]:
    def labels(name: str, query: str) -> Json:
        return {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }

    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "data source"},
        labels("job", "label_values(inferctl_engine_ready, job)"),
        labels("model", 'label_values(inferctl_in_flight{job=~"$job"}, model)'),
    ]


def _panels() -> Iterator[Json]:
    """Rows' headlines and panels, from left to right and downwards."""
    top, number = 0, 0
    for row in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        for place, panel in enumerate(row.panels):
            number += 1
            line, left = divmod(place * WIDTH, COLUMNS)
            position = {"x": left, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": number, "gridPos": position, **_panel(panel)}
        top += -(-len(row.panels) * WIDTH // COLUMNS) * HEIGHT


def _panel(panel: Panel) -> Json:
    shown: Json = {
        "title": panel.title,
        "description": panel.says,
        "type": panel.kind,
        "datasource": SOURCE,
        "targets": [
            _target(panel, ascii_uppercase[place], *query)
            for place, query in enumerate(panel.queries.items())
        ],
    }
    if panel.kind == "heatmap":
        axis = {"unit": panel.unit, "axisPlacement": "left"}
        return shown | {"options": {"calculate": False, "yAxis": axis, "cellGap": 1}}
    stacking = {"mode": "normal" if panel.stacked else "none"}
    custom = {"fillOpacity": 30 if panel.stacked else 5, "stacking": stacking, "spanNulls": False}
    return shown | {
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
    }


def _target(panel: Panel, letter: str, legend: str, expression: str) -> Json:
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": expression,
        "legendFormat": legend,
        # The one histogram that has them.
        "exemplar": "inference_latency_seconds_bucket" in expression,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
    }
