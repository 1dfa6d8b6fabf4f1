"""A folder with a store, and those who have it open."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from inferctl.deferral import JobsSettings
from inferctl.jobs.sqlite.opening import NAME
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from tests.jobs.clock import Clock


class StoreFolder:
    """The stores that are opened go by its clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.settings = JobsSettings()
        self._stores: list[SqliteStore] = []
        assert prepare_store(path, strict=True) is None

    @property
    def file(self) -> Path:
        return self.path / NAME

    def open(self, **settings: Any) -> SqliteStore:
        store = SqliteStore(self.path, JobsSettings(**settings), self.clock.now, self.clock.steady)
        # As if it had been open for long.
        store._well_since_s = -math.inf
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self._stores.clear()
