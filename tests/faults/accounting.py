"""What every row requires of a service besides its own promise.

It is as it was before (ALIVE), and what it counted, what it logged, and what its clients saw are
the same requests (ACC). `survives` checks both at the end of its block; of a service that is kept
by a fixture, and of processes that nobody killed meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from inferctl.bench.exposition import read_metrics
from inferctl.server.app import UNLOGGED
from inferctl.server.jobs.item_run import METHOD
from tests.e2e.service import Service
from tests.faults.memory import COUNTED

ENGINE, WORKER = "inferctl-engine", "inferctl-worker"
MIB = 1024 * 1024
SPARE_DESCRIPTORS = SPARE_THREADS = 2
SPARE_BYTES = 5 * MIB
READY_WITHIN_S = 1.0
# What a log line, a closed connection or a thread's end may take.
SETTLED_WITHIN_S = 3.0


class Seen:
    """What the clients saw: requests that were answered, by status, and requests with a complete
    head whose client left, or was cut off, before there was an answer."""

    def __init__(self) -> None:
        self.answered: Counter[int] = Counter()
        self.left = 0


class Vitals(NamedTuple):
    """Of all processes of a service together."""

    descriptors: int
    threads: int
    memory_bytes: int


@contextmanager
def survives(service: Service, *, spare_bytes: int = SPARE_BYTES) -> Iterator[Seen]:
    """Note in what is yielded what the clients of the block see; raises AssertionError."""
    before, lines = vitals(service), len(service.lines)
    with accounted(service) as seen:
        yield seen
    until(lambda: service.request("/readyz").status == 200, READY_WITHIN_S, lambda: "not ready")

    def beyond() -> list[str]:
        now = vitals(service)
        spare = Vitals(SPARE_DESCRIPTORS, SPARE_THREADS, spare_bytes)
        grown = zip(Vitals._fields, before, now, spare, strict=True)
        return [f"{name}: {was} -> {is_}" for name, was, is_, more in grown if is_ > was + more]

    until(lambda: not beyond(), SETTLED_WITHIN_S, beyond)
    assert "Traceback" not in "".join(service.lines[lines:])


@contextmanager
def accounted(service: Service) -> Iterator[Seen]:
    """The accounts alone: counted is logged is seen."""
    seen = Seen()
    with suppress(AssertionError):  # a worker that was killed took its lines along
        until(lambda: is_written(service), SETTLED_WITHIN_S, lambda: "the log is behind")
    counted, log = outcomes(service), RequestLines(service)
    dropped = service.metric("inferctl_log_dropped_total")
    yield seen

    def differences() -> list[str]:
        counted_now = outcomes(service) - counted
        logged, statuses = log.read()
        lost = service.metric("inferctl_log_dropped_total") - dropped
        found = []
        if counted_now.total() != logged.total() + lost or logged - counted_now:
            found.append(f"counted {dict(counted_now)}, logged {dict(logged)}, lost {lost:g}")
        unheard = statuses - seen.answered
        if not lost and (seen.answered - statuses or unheard.total() != seen.left):
            answered = f"seen {dict(seen.answered)} and {seen.left} without an answer"
            found.append(f"logged {dict(statuses)}, {answered}")
        return found

    until(lambda: not differences(), SETTLED_WITHIN_S, differences)


def is_written(service: Service) -> bool:
    """Whether the log has every request that was counted: it is written a little later."""
    lost = service.metric("inferctl_log_dropped_total")
    logged, _ = RequestLines(service, 0).read()
    return logged.total() + lost >= outcomes(service).total()


def outcomes(service: Service) -> Counter[str]:
    """The requests that the service has counted, by outcome; probes and scrapes are none."""
    text = service.request("/metrics").body.decode()
    found: Counter[str] = Counter()
    for (name, pairs), value in read_metrics(text).items():
        labels = dict(pairs)
        if name == "inferctl_requests_total" and labels["route"] not in UNLOGGED:
            found[labels["outcome"]] += int(value)
    return found


class RequestLines:
    """The lines of requests that the log gets from now on, or has from a place on. Items of jobs
    have lines too, and are none."""

    def __init__(self, service: Service, begin: int | None = None) -> None:
        self._path = service.folder / "logs" / "requests.log"
        self._begin = self._path.stat().st_size if begin is None else begin

    def read(self) -> tuple[Counter[str], Counter[int]]:
        """Their outcomes, and the statuses of the answers; the same outcome may have several."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            lines = [json.loads(line) for line in file if line.endswith(b"\n")]
        lines = [line for line in lines if line.get("method") != METHOD]
        return Counter(one["outcome"] for one in lines), Counter(one["status"] for one in lines)


def vitals(service: Service) -> Vitals:
    """Descriptors, threads and proportional memory now."""
    pids = [service.process.pid, *service.pids(ENGINE), *service.pids(WORKER)]
    return Vitals(*map(sum, zip(*map(_vitals_of, pids), strict=True)))


def _vitals_of(pid: int) -> Vitals:
    folder = Path(f"/proc/{pid}")
    lines = (folder / "smaps_rollup").read_text().splitlines()
    return Vitals(
        descriptors=len(list((folder / "fd").iterdir())),
        threads=len(list((folder / "task").iterdir())),
        # Not the pages of files: their share grows when another program that has them ends.
        memory_bytes=sum(int(line.split()[1]) for line in lines if line.startswith(COUNTED)) * 1024,
    )


def until(condition: Callable[[], bool], within_s: float, otherwise: Callable[[], object]) -> None:
    """Look again and again; raises AssertionError with what is `otherwise`."""
    give_up_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up_s, otherwise()
        pause.wait(0.02)
