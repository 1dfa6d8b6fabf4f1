"""Done when: what is exported of every kind and family answers over HTTP as PyTorch does.

Cells that `make test` has no time for are marked `matrix`; `make matrix` runs them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.export.conftest import Exported

from .asking import assert_answers, export_cells, serving
from .cells import FAMILIES, KINDS, RARE, Cell, cells, is_usual, refusal_of

pytestmark = pytest.mark.e2e

SERVED = tuple(cell for cell in cells() if refusal_of(cell) is None)
REFUSED = tuple(cell for cell in cells() if refusal_of(cell) is not None)


def marked(of: Iterable[Cell]) -> list[object]:
    marks = {True: (), False: pytest.mark.matrix}
    return [pytest.param(cell, id=str(cell), marks=marks[is_usual(cell)]) for cell in of]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest, folder: Path, exported: Exported) -> dict[Cell, str]:
    """What is said of the cells that are refused; the others are exported. Of this run alone."""
    items = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["cell"] for item in items if hasattr(item, "callspec")]
    return export_cells(chosen, folder, exported)


@pytest.fixture(scope="module")
def service(folder: Path, said: dict[Cell, str]) -> Iterator[Service]:
    """One process that serves all models of the run."""
    with serving(folder) as running:
        yield running


@pytest.mark.parametrize("cell", marked(SERVED))
def test_a_cell_answers_over_http_as_pytorch_does(
    said: dict[Cell, str], service: Service, cell: Cell
) -> None:
    assert cell not in said, said[cell]
    assert_answers(cell, service)


@pytest.mark.parametrize("cell", marked(REFUSED))
def test_a_cell_that_is_refused_says_why(said: dict[Cell, str], cell: Cell) -> None:
    refusal = refusal_of(cell)
    assert refusal is not None
    assert re.search(refusal.message, said.get(cell, "it is exported"))


def test_every_run_asks_every_kind_and_every_family_that_can_be_served() -> None:
    usual = [cell for cell in SERVED if is_usual(cell)]
    assert {cell.kind for cell in usual} == set(KINDS)
    assert {cell.family for cell in usual} == {cell.family for cell in SERVED} - RARE
    assert {cell.family for cell in cells()} == set(FAMILIES)
