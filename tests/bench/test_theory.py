"""Loads on servers of known service times give what theory says of them.

A second in which nothing is answered, once in ten: who waits for an answer before asking again
meets it once per user, 1 request in 451, and its p99 knows nothing of it. Who asks at a rate meets
it with a tenth of the requests. A latency that began when a request was sent at last, not when it
was to be, would be as blind as the first.
"""

from __future__ import annotations

import heapq
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inferctl.bench.figures import latency_of
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.plan import Plan
from inferctl.bench.run import opened
from tests.bench import stalling
from tests.bench.stalling import PERIOD_S, SERVICE_S, STALL_S, answered_s

USERS = 4
RATE_PER_S = 50.0
FEW = 4
UNLIMITED = 10**6
# What a busy machine may add to an answer, and to the percentile that some of them are.
NOISE_MS = 60.0
# To most answers it adds less, and to a tenth of them, which meet a stall, as much: this is what it
# may add to the mean. FEW connections add 14 ms, so that the mean tells whether they did.
MEDIAN_NOISE_MS = 5.0
MEAN_NOISE_MS = MEDIAN_NOISE_MS + NOISE_MS * STALL_S / PERIOD_S

# Writes how many ms late it was, each time, until SIGTERM.
WAKING = """
import signal, sys, time
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
late_ms = []
while not ended:
    begun_s = time.monotonic()
    time.sleep(0.005)
    late_ms.append((time.monotonic() - begun_s - 0.005) * 1000)
print(*late_ms)
"""

LOADS = {
    "closed": Plan("", None, Load(users=USERS), 1, PERIOD_S, 0.2),
    "open": Plan("", None, Load(rate_per_s=RATE_PER_S, arrivals="constant"), 1, PERIOD_S, 0.2),
    "poisson": Plan("", None, Load(rate_per_s=RATE_PER_S), 1, PERIOD_S, 0.2),
    "crowded": Plan(
        "", None, Load(rate_per_s=RATE_PER_S, arrivals="constant"), 1, PERIOD_S, 0.2,
        connections=FEW,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, Measurement]]:
    """Each load on the server that stalls, all at once: together they are some 300 requests/s.

    They are measured again, twice at most, when the machine held up somebody who did nothing.
    """
    with started() as url, ThreadPoolExecutor() as threads:
        for _ in range(3):
            with late_ms() as late:
                found = list(threads.map(lambda plan: measure(url, plan), LOADS.values()))
            if np.percentile(late, 99) < NOISE_MS / 3:
                break
        yield dict(zip(LOADS, found, strict=True))


@contextmanager
def late_ms() -> Iterator[list[float]]:
    """How late a process was that wants to wake up every 5 ms; there once the block is over."""
    late: list[float] = []
    waking = subprocess.Popen([sys.executable, "-c", WAKING], stdout=subprocess.PIPE, text=True)
    with waking:
        yield late
        waking.terminate()
        assert waking.stdout is not None
        late += map(float, waking.stdout.read().split())


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """The server: its URL."""
    command = [sys.executable, stalling.__file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
        finally:
            child.kill()


def measure(url: str, plan: Plan) -> Measurement:
    """A plan against another server."""
    with opened(replace(plan, url=url)) as bench:
        return bench.measure(
            plan.load, windows=plan.windows, window_s=plan.window_s, warmup_s=plan.warmup_s
        )


def expected_ms(
    begins_s: NDArray[np.float64], connections: int, service_s: float = SERVICE_S
) -> NDArray[np.float64]:
    """Latencies of what was to be sent then: each takes the connection that is free first, waits
    for it if it must, and its time runs from when it was to be sent.
    """
    free_s = [0.0] * min(connections, 200)
    found = []
    for begun_s in begins_s:
        sent_s = max(begun_s, heapq.heappop(free_s))
        ended_s = answered_s(sent_s, service_s)
        heapq.heappush(free_s, ended_s)
        found.append((ended_s - begun_s) * 1000)
    return np.array(found)


def test_a_closed_loop_does_not_see_the_stall(measured: dict[str, Measurement]) -> None:
    """Each user is caught once: 4 requests of 1804, so that p99 is that of a good second."""
    found = measured["closed"].client
    assert found.latency is not None
    per_user = (PERIOD_S - STALL_S) * 1000 / found.latency.p50_ms + 1
    assert found.answered == pytest.approx(USERS * per_user, rel=0.1)
    assert SERVICE_S * 1000 <= found.latency.p50_ms < SERVICE_S * 1000 + MEDIAN_NOISE_MS
    assert found.latency.p99_ms < SERVICE_S * 1000 + NOISE_MS
    assert STALL_S * 1000 <= found.latency.max_ms < (STALL_S + SERVICE_S) * 1000 + NOISE_MS
    # Little's law: what is in the loop is the users, so no time of theirs is missing.
    assert found.throughput_per_s * found.latency.mean_ms / 1000 == pytest.approx(USERS, rel=0.02)


@pytest.mark.parametrize(("name", "connections"), [("open", UNLIMITED), ("crowded", FEW)])
def test_an_open_loop_shows_it(
    measured: dict[str, Measurement], name: str, connections: int
) -> None:
    """A tenth of the requests wait up to a second, and longer where they must for connections.

    Those of the closed loop tell how long this machine needs for one, at the same time.
    """
    evenly_s = np.arange(0, 3 * PERIOD_S, 1 / RATE_PER_S)
    service_s = USERS * (PERIOD_S - STALL_S) / measured["closed"].client.answered
    theory = latency_of(expected_ms(evenly_s, connections, service_s))
    found = measured[name].client
    assert found.answered == pytest.approx(RATE_PER_S * PERIOD_S, abs=1)
    assert not found.errors
    assert found.latency is not None
    assert theory.p99_ms > 900
    assert found.latency.p50_ms == pytest.approx(theory.p50_ms, abs=MEDIAN_NOISE_MS)
    assert found.latency.mean_ms == pytest.approx(theory.mean_ms, abs=MEAN_NOISE_MS)
    for figure in ("p95_ms", "p99_ms", "max_ms"):
        assert getattr(found.latency, figure) == pytest.approx(
            getattr(theory, figure), abs=NOISE_MS
        ), figure


def test_few_connections_are_the_client_s_limit(measured: dict[str, Measurement]) -> None:
    """Which is told; enough of them are none."""
    assert "all connections that it may open were busy" in (
        measured["crowded"].client_limited or ""
    )
    assert "connections" not in (measured["open"].client_limited or "")


def test_poisson_arrivals_show_it_too(measured: dict[str, Measurement]) -> None:
    """Their number varies as its root, and their gaps as much as they are long. How many meet the
    stall, and so the p99, varies with when it comes.
    """
    found = measured["poisson"]
    assert found.client.answered == pytest.approx(RATE_PER_S * PERIOD_S, rel=0.15)
    begins_s = found.windows[0].begins_s
    gaps_s = np.diff(begins_s)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.15)
    assert found.client.latency is not None
    p99s_ms = [
        latency_of(expected_ms(begins_s + offset_s, UNLIMITED)).p99_ms
        for offset_s in np.arange(0, PERIOD_S, NOISE_MS / 1000)
    ]
    assert min(p99s_ms) > 700
    assert min(p99s_ms) - NOISE_MS < found.client.latency.p99_ms < max(p99s_ms) + NOISE_MS


def test_nothing_is_rounded(measured: dict[str, Measurement]) -> None:
    """No two latencies are alike, which those of whole milliseconds, or microseconds, would be."""
    for name, found in measured.items():
        latencies_ms = found.latencies_ms
        assert len(np.unique(latencies_ms)) > 0.99 * len(latencies_ms), name
        microseconds = latencies_ms * 1000
        assert np.abs(microseconds - microseconds.round()).mean() > 0.1, name


def test_a_steady_server_is_stable() -> None:
    """Three windows that agree are enough, and only they count."""
    with started("steady") as url:
        plan = Plan(url, None, Load(users=USERS), 10, 0.5, 0.2)
        with opened(plan) as bench:
            found = bench.measure(
                plan.load, windows=10, window_s=0.5, warmup_s=0.2, until_stable=True
            )
            assert [path.name for path in bench.folder.iterdir()] == ["bodies"], "no records stay"
    assert found.client.latency is not None
    assert found.client.latency.p50_ms == pytest.approx(SERVICE_S * 1000, abs=3)
    assert found.stable
    assert len(found.counted) == 3


def test_processes_that_share_a_rate_are_one() -> None:
    """Two of them: no request is missing or sent twice, and the gaps are those of a single one."""
    with started("steady") as url:
        plan = Plan(
            url, None, Load(rate_per_s=100.0, arrivals="constant"), 1, 1.0, 0.3,
            processes=2,
        )  # fmt: skip
        found = measure(plan.url, plan)
    gaps_s = np.diff(found.windows[0].begins_s)
    assert found.client.answered == pytest.approx(100, abs=1)
    assert gaps_s == pytest.approx(np.full(len(gaps_s), 0.01), abs=1e-4)
    assert len(np.unique(found.latencies_ms)) > 1


def test_users_of_a_ramp_come_one_after_the_other() -> None:
    """From nobody to eight in two seconds: the last half second has more than the first."""
    with started("steady") as url:
        plan = Plan(url, None, Load(users=8, shape="ramp"), 4, 0.5, 0.0)
        with opened(plan) as bench:
            found = bench.measure(plan.load, windows=4, window_s=0.5, warmup_s=0.0)
    answered = [window.client.answered for window in found.windows]
    assert answered[0] < answered[-1] / 2
    assert not found.client.errors
