"""A worker whose event loop is blocked."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.service import Service
from tests.faults.accounting import WORKER, until

pytestmark = pytest.mark.e2e

# A connection that comes to the blocked worker is not answered: whoever asks, asks again.
IMPATIENCE_S = 0.3
# `inferctl`, of which a loop is lost after 3 s.
IMPATIENT = """
from inferctl.__main__ import main
from inferctl.supervisor import loops
loops.LOST_S = 3.0
main()
"""


def readiness(service: Service) -> int:
    """The status of /readyz; 0 when there was no answer."""
    try:
        with urllib.request.urlopen(service.url + "/readyz", timeout=IMPATIENCE_S) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def is_told_of(service: Service, pid: int) -> bool:
    return any(
        "its event loop is blocked" in line and f"pid={pid}" in line for line in service.lines
    )


@pytest.mark.row(103)
def test_a_blocked_loop_is_told_of_and_makes_the_service_not_ready(start: Start) -> None:
    service = start("--workers", "2")
    blocked, _ = service.pids(WORKER)
    os.kill(blocked, signal.SIGSTOP)
    try:
        until(lambda: is_told_of(service, blocked), 10, lambda: service.lines)
        until(lambda: readiness(service) == 503, 20, lambda: "still ready")
    finally:
        os.kill(blocked, signal.SIGCONT)
    until(lambda: readiness(service) == 200, 20, lambda: "not ready again")
    service.wait_for_line('File "')
    assert service.metric("inferctl_loop_stalls_total") >= 1
    assert service.pids(WORKER)[0] == blocked


@pytest.mark.row(103)
def test_a_worker_whose_loop_is_lost_is_told_to_have_been_blocked(
    models: Path, tmp_path: Path
) -> None:
    """It dies of SIGKILL, and the kernel has nothing to do with it."""
    command = (sys.executable, "-c", IMPATIENT, "serve")
    arguments = [str(models), "--port", "0", "--workers", "1"]
    with Service(arguments, tmp_path, command=command) as service:
        os.kill(service.pids(WORKER)[0], signal.SIGSTOP)
        service.wait_for_line("ready again")
        health = service.request("/health").json
        assert (health["last_restart"]["role"], health["last_restart"]["reason"]) == (
            "worker", "timeout",
        )  # fmt: skip
        assert any("blocked its event loop" in warning for warning in health["warnings"])
