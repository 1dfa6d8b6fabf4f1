"""Every kind of store that keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inferctl.jobs.store import Store
from tests.jobs.backend import Advancing, Backend
from tests.jobs.made import OpenStore
from tests.jobs.redis.stores import RedisStores
from tests.jobs.redis_server import RedisServer
from tests.jobs.sqlite.folder import StoreFolder

# Names of the fixtures that are such a kind.
BACKENDS = ["sqlite", "redis"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[StoreFolder]:
    folder = StoreFolder(tmp_path / "state")
    yield folder
    folder.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisStores]:
    redis_server.ask("FLUSHALL")
    stores = RedisStores(redis_server)
    yield stores
    stores.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def open_store(backend: Backend) -> OpenStore:
    """Another store on the same jobs, by settings that differ."""
    return backend.open


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


@pytest.fixture
def clock(backend: Backend) -> Advancing:
    return backend.clock
