"""Memory after peaks: what outsize batches, versions and engines took is given back."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from inferctl.supervisor.backoff import STEADY_S
from tests.e2e.conftest import Start
from tests.e2e.multiples import Shelf
from tests.e2e.service import Service
from tests.faults.accounting import ENGINE, MIB, survives, until

pytestmark = pytest.mark.e2e

SENTIMENT = "/models/sentiment/predict"
# The buckets of the demo's model, and what is beyond them.
ROWS, WORDS = (1, 2, 4, 8, 16, 32, 64, 128, 256), (3, 10, 30, 60, 120)
USUAL = 1, 5
SHRUNK = 1.2
# It looks every 5 s.
SHRUNK_WITHIN_S = 15.0
ROUNDS = 200


def ask(service: Service, rows: int, words: int) -> None:
    items = [{"text": "good " * words}] * rows
    assert service.post_json(SENTIMENT, {"items": items}).status == 200


def engine_bytes(service: Service) -> int:
    (engine,) = service.pids(ENGINE)
    text = Path(f"/proc/{engine}/smaps_rollup").read_text()
    return int(text.split("Rss:")[1].split()[0]) * 1024


def sweep(start: Start, shapes: list[tuple[int, int]]) -> None:
    service = start("--workers", "1", "--set", "server.request_timeout_ms=60000")
    for _ in range(20):
        ask(service, *USUAL)
    warm_bytes = engine_bytes(service)
    for shape in shapes:
        ask(service, *shape)
    peak_bytes = engine_bytes(service)
    for _ in range(20):
        ask(service, *USUAL)

    assert peak_bytes > SHRUNK * warm_bytes
    until(
        lambda: engine_bytes(service) <= SHRUNK * warm_bytes,
        SHRUNK_WITHIN_S,
        lambda: f"{engine_bytes(service)} bytes, {warm_bytes} when warm, {peak_bytes} at the peak",
    )


@pytest.mark.row(190)
def test_after_outsize_batches_the_memory_is_given_back(start: Start) -> None:
    sweep(start, [(256, 60), (256, 120)])


@pytest.mark.row(190)
@pytest.mark.faults
def test_after_all_shapes_twice_the_memory_is_given_back(start: Start) -> None:
    sweep(start, [(rows, words) for words in WORDS for rows in ROWS] * 2)


def left_behind(service: Service) -> list[str]:
    """Zombies, shared memory that has a name, and files of ours among the temporary ones."""
    zombies = [
        str(path.parent)
        for path in Path("/proc").glob("[0-9]*/stat")
        if _fields(path)[:2] == ["Z", str(service.process.pid)]
    ]
    folders = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return zombies + [str(path) for folder in folders for path in folder.glob("inferctl-*")]


def _fields(stat: Path) -> list[str]:
    try:
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ["", ""]


def replace_and_look(service: Service, once: Callable[[int], None]) -> None:
    before = left_behind(service)
    for count in (1, 2):
        once(count)
    with survives(service, spare_bytes=10 * MIB):
        for count in range(3, ROUNDS + 3):
            once(count)
    assert left_behind(service) == before


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    return shelf


@pytest.mark.row(188)
@pytest.mark.faults
def test_of_200_reloads_nothing_is_left(shelf: Shelf, tmp_path: Path) -> None:
    with Service([str(shelf.models), "--port", "0"], tmp_path) as service:

        def reload(count: int) -> None:
            if count % 2:
                shelf.put(2)
            else:
                shelf.take(2)
            service.process.send_signal(signal.SIGHUP)
            service.wait_for_line("reloaded", count)

        replace_and_look(service, reload)


@pytest.mark.row(188)
@pytest.mark.faults
def test_of_200_engines_that_were_killed_nothing_is_left(shelf: Shelf, tmp_path: Path) -> None:
    """One that is killed as soon as it is ready keeps dying."""
    with Service([str(shelf.models), "--port", "0"], tmp_path) as service:
        pause = threading.Event()

        def kill(count: int) -> None:
            pause.wait(STEADY_S + 0.1)
            os.kill(service.pids(ENGINE)[0], signal.SIGKILL)
            service.wait_for_line("ready again", count)

        replace_and_look(service, kill)
