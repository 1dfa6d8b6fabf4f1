"""Requests that come at the same moment, so that their rows share a batch."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.e2e.service import Service

# A batch of eight leaves as soon as it is full.
BATCHES_OF_EIGHT = (
    "--set", "batching.max_batch_rows=8", "--set", "batching.max_wait_ms=300",
)  # fmt: skip


class Told(NamedTuple):
    """What a client was told, and how long that took."""

    status: int
    content: dict[str, Any]
    took_s: float

    @property
    def y(self) -> Any:
        """The answer of a model of the kit."""
        return self.content["outputs"]["y"]


def ask(service: Service, model: str, x: Sequence[float], *, timeout_ms: int | None = None) -> Told:
    """One row of a model of the kit."""
    headers = {"Content-Type": "application/json"}
    if timeout_ms is not None:
        headers["X-Request-Timeout-Ms"] = str(timeout_ms)
    body = json.dumps({"inputs": list(x)}).encode()
    request = urllib.request.Request(f"{service.url}/models/{model}/predict", body, headers)
    begun_s = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            status, content = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read()
    return Told(status, json.loads(content), time.monotonic() - begun_s)


def together(service: Service, model: str, numbers: Sequence[int], **terms: Any) -> list[Told]:
    """A row of each number, all at once; what became of them in this order."""
    told: dict[int, Told] = {}
    barrier = threading.Barrier(len(numbers))

    def client(place: int, x: int) -> None:
        barrier.wait()
        told[place] = ask(service, model, [x], **terms)

    clients = [threading.Thread(target=client, args=(place, x)) for place, x in enumerate(numbers)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return [told[place] for place in range(len(numbers))]


def slowness(service: Service) -> float:
    """How much longer things take on this machine just now than where a start takes a second."""
    took = re.search(r"took_s=(\S+)", service.wait_for_line(" ready "))
    assert took
    return max(1.0, float(took.group(1)))
