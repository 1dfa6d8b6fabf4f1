"""Stores in one Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Owner
from inferctl.jobs.owners import is_gone, this_process
from inferctl.jobs.redis.connection import Connection
from inferctl.jobs.redis.store import RedisStore
from tests.jobs.redis_server import RedisServer


class Sent:
    """A carrier that keeps what it was told."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def send(self, ids: Sequence[str]) -> None:
        self.ids += ids

    def close(self) -> None:
        """There is nothing to close."""


class Waiting:
    """Redis' own clock: nobody can set it, so it is waited for."""

    def advance(self, seconds: float) -> None:
        time.sleep(seconds)


class RedisStores:
    """Opens them; `dead` are owners that they take for dead, besides those that are."""

    def __init__(self, server: RedisServer) -> None:
        self.server, self.sent, self.clock = server, Sent(), Waiting()
        self.dead: list[Owner] = []
        self._opened: list[RedisStore] = []
        self._is_gone = partial(is_gone, here=this_process())

    def open(self, url: str = "", **settings: Any) -> RedisStore:
        """Another one, by settings that differ."""
        store = RedisStore(
            Connection(url or self.server.url), JobsSettings(**settings), self.sent, self._is_dead
        )
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()

    def _is_dead(self, owner: Owner) -> bool:
        return owner in self.dead or self._is_gone(owner)
