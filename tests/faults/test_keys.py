"""Keys under load and under a clock: who floods drowns nobody, and no key can be guessed."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.guarded import Wire, bearer, make_key
from tests.faults.kit import write_kit

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

JSON = {"Content-Type": "application/json"}
# Rounds of the loop: some milliseconds a row, so that a queue of seconds is soon there.
ROW = b'{"inputs": {"x": [[20000]]}}'
FLOODING, FLOOD_S, EVERY_S = 64, 10.0, 0.1
TRIES = 20_000


class Asking(threading.Thread):
    """A client on one connection that asks until it is told to end."""

    def __init__(self, service: Service, key: str, pause_s: float) -> None:
        super().__init__()
        self._wire, self._key, self._pause_s = Wire(service), key, pause_s
        self.ending = threading.Event()
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        headers = JSON | bearer(self._key)
        while not self.ending.wait(self._pause_s):
            answer = self._wire.ask("POST", "/models/loop/predict", headers, ROW)
            self.statuses[answer.status] += 1
        self._wire.close()


Start = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Start]:
    """Start a service on a model of the kit, with the keys in `serve.toml`."""
    services: list[Service] = []

    def start(model: str, *flags: str) -> Service:
        write_kit(tmp_path / "models", model)
        keys = str(tmp_path / "serve.toml")
        arguments = [str(tmp_path / "models"), "--port", "0", "--config", keys, *flags]
        services.append(Service(arguments, tmp_path))
        services[-1].wait_until_ready()
        return services[-1]

    yield start
    for service in services:
        assert service.stop() == 0


@pytest.mark.row(12)
def test_who_asks_seldom_is_answered_while_another_floods(serve: Start, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    flood, trickle = make_key(config, "flood"), make_key(config, "trickle")
    service = serve("loop", "--workers", "2", "--set", "limits.max_queue_rows=32")
    crowd = [Asking(service, flood, 0.0) for _ in range(FLOODING)]
    seldom = Asking(service, trickle, EVERY_S)
    for client in (*crowd, seldom):
        client.start()
    time.sleep(FLOOD_S)  # how long it lasts is what is tested
    for client in (*crowd, seldom):
        client.ending.set()
        client.join()
    refused = sum(client.statuses[429] for client in crowd)
    assert refused > 100, "it was no flood"
    assert seldom.statuses.total() > 20
    assert seldom.statuses[200] >= 0.95 * seldom.statuses.total()


def taken_ns(work: Callable[[], object]) -> int:
    begun_ns = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - begun_ns


@pytest.mark.row(165)
def test_how_long_a_refusal_takes_says_nothing_of_the_key(serve: Start, tmp_path: Path) -> None:
    """Medians of keys that begin right and of those that are all wrong, in turns at random."""
    right = make_key(tmp_path / "serve.toml", "app")
    wire = Wire(serve("echo", "--workers", "1"))
    wrong = {"near": right[:-1] + "-", "far": right[:9] + "-" * len(right[9:])}
    took_ns: dict[str, list[int]] = {kind: [] for kind in wrong}
    order = list(wrong) * (TRIES // 2)
    random.Random(165).shuffle(order)
    for kind in order:
        headers = bearer(wrong[kind])
        took_ns[kind].append(taken_ns(lambda headers=headers: wire.ask("GET", "/models", headers)))
    wire.close()
    near, far = (statistics.median(took_ns[kind]) for kind in ("near", "far"))
    # Of a median of n values from a bell curve; noise has a longer tail, which only widens it.
    spread_ns = max(map(deviation_ns, took_ns.values()))
    assert abs(near - far) < 3 * 1.25 * spread_ns * (2 / (TRIES / 2)) ** 0.5


def deviation_ns(times_ns: list[int]) -> float:
    """The standard deviation as the quartiles tell it: the tail of a busy machine says nothing."""
    first, _, third = statistics.quantiles(times_ns, n=4)
    return (third - first) / 1.35
