"""A fake server with jobs, and both clients of it, by a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.asking import Asking
from tests.client.jobs.fake import Fake, serving_jobs
from tests.client.scripted import Clock


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving_jobs() as fake:
        yield fake


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(asking: Asking, server: Fake, clock: Clock) -> Iterator[Any]:
    """Each of both clients of the server; it never waits."""
    with asking.of(server.url, now=clock.now, pause=clock.pause).open() as opened:
        yield opened
