"""The demo's bundles and services on them, as in tests/e2e; and one with a model of each task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client.bundles import write_bundles
from tests.e2e.conftest import models, service, start
from tests.e2e.service import Service

__all__ = ["models", "service", "start"]

Say = Callable[[str], None]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of each task, whose answers a person can work out."""
    return write_bundles(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(scope="module")
def every_task(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with them. Whatever it is asked, no process of it may die, and none says a word."""
    with Service(
        [str(tiny_models), "--port", "0", "--set", "models.mood.default=true"],
        tmp_path_factory.mktemp("every-task"),
    ) as running:
        yield running
        assert running.metric('inferctl_restarts_total{role="worker"}') == 0
        assert running.metric('inferctl_restarts_total{role="engine"}') == 0
    assert not [line for line in running.lines if "Traceback" in line or "rror" in line]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Tell whoever waits how far it is."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")
            sys.stdout.flush()

    return line
