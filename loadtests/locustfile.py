"""Closed-loop load on one predict path: a user sends its next request when the last is answered.

Keeps the exact latency of every request, which Locust itself rounds; README.md has the variables.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task

NO_ANSWER = 0


def _setting(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        sys.exit(f"set {name}; loadtests/README.md says to what")


PATH = _setting("LOADTEST_PATH")
BODIES: Iterator[Any] = itertools.cycle(Path(_setting("LOADTEST_BODIES")).read_bytes().splitlines())
OUTPUT = Path(os.environ.get("LOADTEST_OUTPUT", "."))
WARMUP_S = float(os.environ.get("LOADTEST_WARMUP_S", "0"))
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
if API_KEY := os.environ.get("LOADTEST_API_KEY"):
    HEADERS["Authorization"] = f"Bearer {API_KEY}"


class Record:
    """Begin, latency and status of every request of this process, as float64, in order of end."""

    def __init__(self) -> None:
        self._cells = array("d")
        self._window_begins_s = float("inf")
        self._stats: Any = None

    def start(self, stats: Any) -> None:
        """All users run: the warm-up begins now. `stats` are what Locust will print."""
        now_s = time.monotonic()
        self._stats = stats
        self._window_begins_s = now_s + WARMUP_S
        # Renamed into place, so that who waits for the file never reads half of it.
        mark = OUTPUT / f"started-{os.getpid()}.tmp"
        mark.write_text(repr(now_s), encoding="ascii")
        mark.rename(mark.with_suffix(".txt"))

    def add(self, begun_s: float, latency_s: float, status: int) -> None:
        """One request. The first of the window clears Locust's own figures of the warm-up."""
        self._cells.extend((begun_s, latency_s, status))
        if begun_s >= self._window_begins_s:
            self._window_begins_s = float("inf")
            self._stats.reset_all()

    def save(self) -> None:
        """Append what was recorded to this process's file."""
        with (OUTPUT / f"requests-{os.getpid()}.f64").open("ab") as file:
            self._cells.tofile(file)
        # Locust may quit twice when a signal ends it.
        del self._cells[:]


RECORD = Record()


def _on_init(environment: Any, **_: Any) -> None:
    events.spawning_complete.add_listener(lambda **_: RECORD.start(environment.stats))


def _on_request(response_time: float, response: Any, exception: Any, **_: Any) -> None:
    latency_s = response_time / 1000
    status = response.status_code
    if exception is not None and status < 400:
        status = NO_ANSWER  # the status line came, the answer did not
    RECORD.add(time.monotonic() - latency_s, latency_s, status)


def _on_quit(**_: Any) -> None:
    RECORD.save()


events.init.add_listener(_on_init)
events.request.add_listener(_on_request)
events.quit.add_listener(_on_quit)


class Client(FastHttpUser):
    """One connection that always has one request under way."""

    wait_time = constant(0)
    # Locust does not check certificates by default; a measured service should be the right one.
    insecure = False

    @task
    def predict(self) -> None:
        """Send the next body."""
        begun_s = time.monotonic()
        try:
            self.client.post(PATH, data=next(BODIES), headers=HEADERS)
        except BaseException:
            # Stopped while waiting: without this the slowest requests would be left out.
            RECORD.add(begun_s, time.monotonic() - begun_s, NO_ANSWER)
            raise
