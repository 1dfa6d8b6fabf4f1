"""The rows of docs/reliability.md: each has a test that is marked with it, or a reason why not."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]


class Row(NamedTuple):
    """A fault. `why_not` says why it has no test, or none of the whole row."""

    section: str
    fault: str
    tier: str
    why_not: str


def read_rows() -> dict[int, Row]:
    """All rows, by number."""
    sections = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {
        int(number): Row(section, row["fault"], row["tier"], row.get("why_not", ""))
        for section, rows in sections.items()
        for number, row in rows.items()
    }


def marked_tests() -> dict[int, list[str]]:
    """The tests that are marked with a row, as `tests/engine/test_runner.py::test_name`."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in _rows(node):
                    found[row].append(f"{path.relative_to(TESTS.parent)}::{node.name}")
    return dict(found)


def _rows(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    return [
        number.value
        for mark in function.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.row"
        for number in mark.args
        if isinstance(number, ast.Constant) and isinstance(number.value, int)
    ]
