"""Which rows of docs/reliability.md run: `pytest --row 84 --row 88`. No test leaves the machine."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.outbound.sitecustomize import VARIABLE, guard

OUTBOUND = pytest.StashKey[Path]()


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


def pytest_configure(config: pytest.Config) -> None:
    """Watch this process, and every child that is an interpreter."""
    file, name = tempfile.mkstemp(prefix="outbound-")
    os.close(file)
    config.stash[OUTBOUND] = Path(name)
    path = [str(Path(__file__).parent / "outbound"), os.environ.get("PYTHONPATH", "")]
    os.environ |= {VARIABLE: name, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    guard()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whoever tried to leave the machine fails the run, whatever the tests made of it."""
    noted = session.config.stash[OUTBOUND]
    if attempts := noted.read_text(encoding="utf-8"):
        sys.stderr.write(f"\nconnections beyond this machine:\n{attempts}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    noted.unlink()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--row"))
    if not wanted:
        return
    chosen = [item for item in items if wanted & rows_of(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def rows_of(item: pytest.Item) -> set[int]:
    return {row for marker in item.iter_markers("row") for row in marker.args}
