"""Directories to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ..conftest import Saved


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Saved:
    """A family's directory to change."""
    return lambda family: Path(shutil.copytree(saved(family), tmp_path / family))
