"""Which rows of docs/reliability.md run: `pytest --row 84 --row 88`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--row", action="append", type=int, default=[], help="a row of docs/reliability.md"
    )
    long = parser.getgroup("long runs", "what `make faults` and `make soak` do")
    long.addoption("--fuzz-seed", type=int, default=46, help="which requests the fuzzer makes")
    long.addoption("--fuzz-requests", type=int, default=1_000_000, help="how many (row 46)")
    long.addoption("--soak-minutes", type=float, default=0.0, help="instead of 60, or 8 hours")
    long.addoption("--soak-seed", type=int, default=192, help="which incidents come (row 192)")
    long.addoption("--soak-load", type=float, default=0.7, help="share of the measured capacity")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--row"))
    if not wanted:
        return
    chosen = [item for item in items if wanted & rows_of(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def rows_of(item: pytest.Item) -> set[int]:
    return {row for marker in item.iter_markers("row") for row in marker.args}
