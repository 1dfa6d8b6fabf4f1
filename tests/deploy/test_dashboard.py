"""The dashboard is laid out so that Grafana shows all of it."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from deploy.grafana.dashboard import COLUMNS, dashboard

BOARD = dashboard()
PANELS: list[dict[str, Any]] = BOARD["panels"]


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """The places that a panel covers."""
    at = panel["gridPos"]
    across, down = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
    return {(x, y) for x in across for y in down}


def test_panels_lie_beside_each_other() -> None:
    for one, other in combinations(PANELS, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    assert all(0 <= x < COLUMNS for panel in PANELS for x, _ in cells(panel))


def test_panels_have_numbers_and_titles_of_their_own() -> None:
    for field in ("id", "title"):
        found = [panel[field] for panel in PANELS]
        assert len(set(found)) == len(found)


def test_every_variable_is_chosen_above() -> None:
    names = {variable["name"] for variable in BOARD["templating"]["list"]}

    assert names == {"datasource", "job", "model"}
    for panel in PANELS:
        for target in panel.get("targets", ()):
            assert 'job=~"$job"' in target["expr"]
            assert target["datasource"]["uid"] == "${datasource}"


def test_a_legend_shows_labels_that_its_expression_keeps() -> None:
    for panel in PANELS:
        for target in panel.get("targets", ()):
            kept = set(", ".join(re.findall(r" by \(([^)]*)\)", target["expr"])).split(", "))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept
