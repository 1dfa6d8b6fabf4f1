"""Far more clients than a server can serve, and how soon it is itself again."""

from __future__ import annotations

import time
from http.client import HTTPException
from pathlib import Path

from benchmarks.answers import ask
from benchmarks.load import measure
from benchmarks.results import Overload
from benchmarks.servers import Running, Setup, started
from benchmarks.workloads import Assets, Workload

NORMAL_CLIENTS = 128
SECONDS = 10
QUICK_S = 0.25
GIVE_UP_S = 60.0
POLL_S = 0.05


def measure_overload(
    setup: Setup, workload: Workload, assets: Assets, venvs: Path, clients: int
) -> Overload:
    """Load it with 128 clients, then with `clients`; ask until one answer is quick again."""
    bodies = assets.bodies_file(workload.name)
    with started(setup, workload, assets, venvs) as server:
        before, cost_before = measure(
            server.url, bodies, server.tree, NORMAL_CLIENTS, SECONDS, statuses=True
        )
        during, cost_during = measure(
            server.url, bodies, server.tree, clients, SECONDS, statuses=True
        )
        recovery_s = time_recovery(server, assets.bodies(workload.name)[0])
    return Overload(
        workload=workload.name,
        server=setup.server,
        config=setup.config,
        clients=clients,
        round=0,
        before=before,
        during=during,
        pss_before_mb=cost_before.pss_mb,
        pss_after_mb=cost_during.pss_mb,
        recovery_s=recovery_s,
    )


def time_recovery(server: Running, body: bytes) -> float | None:
    """Seconds until a request is answered well and quickly; None when it takes too long."""
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < GIVE_UP_S:
        asked_s = time.monotonic()
        try:
            status, _ = ask(server.url, body, GIVE_UP_S)
        except (OSError, HTTPException):
            status = 0
        if status == 200 and time.monotonic() - asked_s < QUICK_S:
            return time.monotonic() - begun_s
        time.sleep(POLL_S)
    return None
