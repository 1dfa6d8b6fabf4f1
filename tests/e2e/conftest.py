"""Real processes over real HTTP, started as a user would, on bundles exported once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from inferctl.demo.scenes import LABELS
from tests.e2e.service import Service
from tests.unmeasured import without_coverage

CHECKPOINTS = Path(str(files("inferctl.demo").joinpath("checkpoints")))

SHAPES_EXPORT = (
    str(CHECKPOINTS / "shapes.safetensors"),
    "--factory", "inferctl.demo.shapes:build", "--task", "image-detection",
    "--labels", ",".join(LABELS), "--image-size", "160",
    "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
    "--card", str(CHECKPOINTS / "shapes.md"),
)  # fmt: skip


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both demo bundles, exported by the command line, side by side."""
    folder = tmp_path_factory.mktemp("models")
    exports = [
        subprocess.Popen(
            [sys.executable, "-m", "inferctl", "export", *arguments, "--output", str(folder)],
            env=without_coverage(),
            stdout=subprocess.DEVNULL,
        )
        for arguments in (SHAPES_EXPORT, (str(CHECKPOINTS / "sentiment"),))
    ]
    assert [export.wait() for export in exports] == [0, 0]
    return folder


Start = Callable[..., Service]


@pytest.fixture
def start(models: Path, tmp_path: Path) -> Iterator[Start]:
    """Start services that end with the test."""
    services: list[Service] = []

    def start_one(*arguments: str, ready: bool = True, deaf: bool = False) -> Service:
        service = Service([str(models), "--port", "0", *arguments], tmp_path, deaf=deaf)
        services.append(service)
        if ready:
            service.wait_until_ready()
        return service

    yield start_one
    for service in services:
        service.stop()


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the tests that leave it as they found it."""
    with Service([str(models), "--port", "0"], tmp_path_factory.mktemp("service")) as running:
        yield running
