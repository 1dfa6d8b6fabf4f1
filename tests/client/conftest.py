"""Both clients, and a real service with a bundle of each task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.client.asking import Asking, Kind
from tests.client.bundles import write_bundles
from tests.e2e.service import Service


@pytest.fixture(params=["blocking", "awaiting"])
def asking(request: pytest.FixtureRequest) -> Asking:
    """Each of both clients, of no server yet."""
    return Asking(cast(Kind, request.param))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of each task."""
    return write_bundles(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(scope="session")
def service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service of all of them; `mood` answers when no model is named."""
    arguments = [str(bundles), "--port", "0", "--workers", "1"]
    folder = tmp_path_factory.mktemp("tiny-service")
    with Service([*arguments, "--set", "models.mood.default=true"], folder) as running:
        yield running
