"""The loop says that it goes round."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from inferctl.arena.ledger import BEAT_S, PID
from inferctl.server.health import BLOCKED_S
from inferctl.server.sums import of_service
from tests.tasks.tinybundles import numbers

from .asgi import get
from .wire import serving
from .wiring import WORKER, working


def block_for_s(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


async def test_every_tick_is_a_beat_and_says_how_late_it_is(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        await service.server.on_tick(1)
        first_s = worker.ledger.blocks[WORKER].state(BEAT_S).get()
        block_for_s(0.2)
        await service.server.on_tick(2)
        assert worker.ledger.blocks[WORKER].state(BEAT_S).get() - first_s >= 0.2
        *counts, lag_s = of_service(worker.ledger).histogram("inferctl_loop_lag_seconds")
        assert sum(counts) == 2
        assert 0.1 < lag_s < 5
        await service.drain()
        assert worker.ledger.blocks[WORKER].state(BEAT_S).get() == 0


@pytest.mark.row(103)
@pytest.mark.parametrize(
    ("pid", "ago_s", "status"),
    [(7, BLOCKED_S + 0.1, 503), (7, BLOCKED_S - 1, 200), (0, BLOCKED_S + 0.1, 200)],
)
async def test_a_blocked_worker_makes_the_service_not_ready(
    tmp_path: Path, pid: int, ago_s: float, status: int
) -> None:
    """A dead one is replaced, and its clients wait."""
    async with working(tmp_path, numbers()) as worker:
        block = worker.ledger.blocks[WORKER]
        block.state(PID).set(pid)
        block.state(BEAT_S).set(time.monotonic() - ago_s)
        assert (await get(worker.app, "/readyz")).status == status
