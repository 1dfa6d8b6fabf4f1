"""Stores in the Redis of the tests, as what it is."""

from __future__ import annotations

import pytest

from inferctl.jobs.redis.store import RedisStore
from tests.jobs.redis.stores import RedisStores, Sent
from tests.jobs.redis_server import RedisServer


@pytest.fixture
def server(redis: RedisStores) -> RedisServer:
    return redis.server


@pytest.fixture
def sent(redis: RedisStores) -> Sent:
    return redis.sent


@pytest.fixture
def store(redis: RedisStores) -> RedisStore:
    return redis.open()
