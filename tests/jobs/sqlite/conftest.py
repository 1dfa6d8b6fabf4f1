"""The folder's own store, where a test takes what every store promises."""

from __future__ import annotations

import pytest

from inferctl.jobs.sqlite.store import SqliteStore
from tests.jobs.sqlite.folder import StoreFolder


@pytest.fixture
def store(sqlite: StoreFolder) -> SqliteStore:
    return sqlite.open()
