"""Load on one predict path: users who ask again when answered, or a rate that waits for nobody.

Keeps the exact times of every request, which Locust itself rounds; README.md has the variables.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from arrivals import arrivals, read_shape, share_at
from connections import find_server
from gevent.event import Event
from gevent.monkey import get_original
from locust import LoadTestShape, User, constant, events, task
from loop import Loop
from messages import read_bodies, whole
from records import Records

PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
GOLDEN_RATIO = 0.618
REST_TICK_S = 0.001


def _setting(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        sys.exit(f"set {name}; loadtests/README.md says to what")


PATH = _setting("LOADTEST_PATH")
BODIES = read_bodies(Path(_setting("LOADTEST_BODIES")))
OUTPUT = Path(os.environ.get("LOADTEST_OUTPUT") or ".")
API_KEY = os.environ.get("LOADTEST_API_KEY")
CA = os.environ.get("LOADTEST_CA") or None
RATE = float(os.environ.get("LOADTEST_RATE") or 0)
ARRIVALS = os.environ.get("LOADTEST_ARRIVALS") or "poisson"
SHAPE = read_shape(os.environ.get("LOADTEST_SHAPE") or "0:1")
# Users that come and go; a rate has its shape in its arrivals.
HAS_RAMP = len(SHAPE) > 1 and not RATE
USERS = int(os.environ.get("LOADTEST_USERS") or 1)
CONNECTIONS = int(os.environ.get("LOADTEST_CONNECTIONS") or 1024)
# `1/4`: the second of four processes, which begin together, when begin.txt says. Locust's own
# figures, which would be of one of them alone, are left out then.
PART = os.environ.get("LOADTEST_PART")
INDEX, PARTS = map(int, (PART or "0/1").split("/"))


class Load:
    """What this process offers, from `begin_s` on, when `begun` is set."""

    def __init__(self, environment: Any) -> None:
        self._fire: Callable[..., None] | None = None if PART else environment.events.request.fire
        self._patience_s = environment.stop_timeout or 0.0
        self.records = Records(OUTPUT)
        requests = whole(BODIES, PATH, urlsplit(environment.host).netloc, API_KEY)
        # Processes begin at different bodies: alike ones would be sent at the same time.
        first = INDEX * len(requests) // PARTS
        self.loop = Loop(
            find_server(environment.host, CA),
            itertools.cycle(requests[first:] + requests[:first]),
            self._record,
            epoll=get_original("select", "epoll")(),
            select=get_original("select", "select"),
            most=CONNECTIONS,
        )
        self.begin_s = 0.0
        self.begun = Event()
        self.numbers = itertools.count()
        gevent.spawn(self._run)

    def _run(self) -> None:
        if RATE:
            self.loop.warm_up()
        self.begin_s = _agreed_begin_s() if PART else time.monotonic()
        self.begun.set()
        gc.freeze()
        self.loop.run(self._breathe)

    def rest(self) -> None:
        """Begin nothing until told to go on, and say so when all is answered, or given up."""
        self.loop.rest()
        give_up_s = time.monotonic() + self._patience_s
        while not self.loop.is_idle() and time.monotonic() < give_up_s:
            gevent.sleep(REST_TICK_S)
        self.loop.give_up()
        self.keep()
        (OUTPUT / f"rested-{os.getpid()}.txt").touch()

    def keep(self) -> None:
        """Write what the parent reads."""
        self.records.flush()
        if self.loop.crowded and PART:
            (OUTPUT / f"crowded-{os.getpid()}.txt").touch()

    def _breathe(self) -> None:
        self.records.flush_sometimes()
        # With 0, gevent would go on with this greenlet before it looks at what others wait for.
        gevent.sleep(1e-9)

    def _record(
        self, begun_s: float, sent_s: float, ended_s: float, status: int, body_bytes: int
    ) -> None:
        self.records.add(begun_s, sent_s, ended_s, status)
        if self._fire is not None:
            good = 200 <= status < 300
            self._fire(
                request_type="POST",
                name=PATH,
                response_time=(ended_s - begun_s) * 1000,
                response_length=body_bytes,
                exception=None if good else OSError(f"status {status}" if status else "no answer"),
                context={},
            )


def _agreed_begin_s() -> float:
    """Say that this process is ready, and wait until all are."""
    (OUTPUT / f"ready-{os.getpid()}.txt").touch()
    mark = OUTPUT / "begin.txt"
    while not mark.exists():
        gevent.sleep(0.002)
    begin_s = float(mark.read_text(encoding="ascii"))
    gevent.sleep(max(begin_s - time.monotonic(), 0))
    return begin_s


# The one of this process, once there is a test.
LOADS: list[Load] = []


class Offering(User):
    """A user whose one task is its whole life: the loop does the work."""

    abstract = True
    wait_time = constant(0)

    def on_start(self) -> None:
        """Wait for the others."""
        self.stopping = Event()
        self.offered = LOADS[0]
        self.offered.begun.wait()

    def stop(self, force: bool = False) -> bool:
        """Locust's, which asks us to end."""
        self.stopping.set()
        return bool(super().stop(force))


class Caller(Offering):
    """Closed loop: one connection that always has one request under way."""

    abstract = bool(RATE)

    @task
    def ask(self) -> None:
        """Until stopped, and then until answered."""
        loop, gone = self.offered.loop, Event()
        user = loop.add_user()
        try:
            self.stopping.wait()
            loop.retire(user, gone.set)
            gone.wait()
        finally:
            loop.abandon(user)


class Clock(Offering):
    """Open loop: LOADTEST_RATE requests per second, whatever becomes of them."""

    abstract = not RATE

    @task
    def offer(self) -> None:
        """Until stopped; the last one waits until all are answered."""
        loop, begin_s, number = self.offered.loop, time.monotonic(), next(self.offered.numbers)
        if PART:
            begin_s = self.offered.begin_s
        elif ARRIVALS == "constant":
            # Clocks that begin together should not tick together.
            begin_s += number * GOLDEN_RATIO % 1 / RATE
        seed = f"{getattr(self.environment.runner, 'worker_index', 0)}/{number}"
        times = arrivals(ARRIVALS, RATE, SHAPE, seed if not PART else "")
        clock = loop.add_clock(itertools.islice(times, INDEX, None, PARTS), begin_s)
        try:
            self.stopping.wait()
            loop.remove_clock(clock)
            while loop.under_way() and not loop.has_clocks():
                gevent.sleep(0.01)
        finally:
            loop.remove_clock(clock)
            if not loop.has_clocks():
                loop.give_up()


# Somebody wants the load to end.
ENDED = Event()

if HAS_RAMP:

    class Ramp(LoadTestShape):
        """LOADTEST_USERS times the share of LOADTEST_SHAPE."""

        def tick(self) -> tuple[int, float] | None:
            """Users now, one at least, and how many may come or go in a second; None is the end."""
            if ENDED.is_set():
                return None
            time_s = self.get_run_time()
            if PART:  # which has waited for the others
                begin_s = LOADS[0].begin_s if LOADS else 0.0
                time_s = max(time.monotonic() - begin_s, 0.0) if begin_s else 0.0
            return max(round(USERS * share_at(SHAPE, time_s)), 1), USERS


def _on_init(**_: Any) -> None:
    if PART:
        # Nobody would end it after a parent that was killed.
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if HAS_RAMP:
        # Locust listens to signals only once a shape is over.
        gevent.signal_handler(signal.SIGTERM, ENDED.set)
    # The system may let waits end 50 us late, which is a latency of its own.
    _prctl(PR_SET_TIMERSLACK, 1)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _on_test_start(environment: Any, **_: Any) -> None:
    if not LOADS:
        LOADS.append(Load(environment))
        if PART:
            gevent.signal_handler(signal.SIGUSR1, LOADS[0].rest)
            gevent.signal_handler(signal.SIGUSR2, LOADS[0].loop.go_on)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):  # Linux
        libc.prctl(option, value, 0, 0, 0)


def _on_quit(**_: Any) -> None:
    for load in LOADS:
        load.loop.close()
        load.keep()


events.init.add_listener(_on_init)
events.test_start.add_listener(_on_test_start)
events.quit.add_listener(_on_quit)
