"""Directories of every family, and the bundles made of them, each made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from inferctl.export import ExportRequest, ExportResult, export_bundle

from .families import save

Saved = Callable[[str], Path]
Exported = Callable[[str], ExportResult]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The directory of a family; not to be written to."""
    folder = tmp_path_factory.mktemp("families")
    return cache(lambda family: save(family, folder / family))


@pytest.fixture(scope="session")
def exported(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle of a family."""
    output = tmp_path_factory.mktemp("bundles")
    return cache(lambda family: export_bundle(ExportRequest(saved(family), output=output)))


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Saved:
    """A family's directory to change."""
    return lambda family: Path(shutil.copytree(saved(family), tmp_path / family))
