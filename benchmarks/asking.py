"""Requests at a steady pace beside a crowd: what one client among many sees, moment by moment."""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

TIMEOUT_S = 10.0


class Asked(NamedTuple):
    """A request: when it was sent (monotonic), how long its answer took, its status (0: none)."""

    at_s: float
    took_ms: float
    status: int


class Asking:
    """Asks some paths in turn, `per_s` requests a second, on several connections, until left.

    Without a body they are GET. A connection that waits for its answer lets its turn pass; at an
    infinite rate it asks again at once.
    """

    def __init__(
        self, url: str, paths: Sequence[str], per_s: float, connections: int = 1,
        body: bytes | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.asked: list[Asked] = []
        self._address = urlsplit(url).netloc
        self._paths = paths
        self._period_s = connections / per_s
        self._body = body
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number * self._period_s / connections,))
            for number in range(connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, first_s: float) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        begun_s, turn = time.monotonic() + first_s, 0
        while not self._over.wait(max(0.0, begun_s + turn * self._period_s - time.monotonic())):
            self.asked.append(self._ask(connection, self._paths[turn % len(self._paths)]))
            turn += 1
            if self._period_s:  # those that it was too late for are left out
                late_s = time.monotonic() - begun_s
                turn = max(turn, math.floor(late_s / self._period_s) + 1)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> Asked:
        at_s, status = time.monotonic(), 0
        method = "GET" if self._body is None else "POST"
        try:
            connection.request(method, path, self._body, self._headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
        return Asked(at_s, 1000 * (time.monotonic() - at_s), status)


def percentile(asked: Sequence[Asked], percent: float) -> float:
    """ms; infinite when one of them was not answered with 200."""
    if not asked or any(one.status != 200 for one in asked):
        return math.inf
    took_ms = sorted(one.took_ms for one in asked)
    return took_ms[math.ceil(len(took_ms) * percent / 100) - 1]
