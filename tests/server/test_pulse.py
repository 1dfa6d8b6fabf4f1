"""The loop says that it goes round."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

import pytest

from inferctl.arena.ledger import BEAT_S, PID, Ledger, ledger_bytes
from inferctl.server.health import BLOCKED_S
from inferctl.server.pulse import Pulse
from inferctl.server.sums import of_service
from tests.tasks.tinybundles import numbers

from .asgi import get
from .loop import until
from .wiring import WORKER, working


def new_ledger(workers: int) -> Ledger:
    return Ledger(mmap.mmap(-1, ledger_bytes(Ledger.FIRST_WORKER + workers)), workers)


def block_for_s(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


async def test_every_turn_of_the_loop_is_a_beat_and_says_how_late_it_is() -> None:
    ledger = new_ledger(1)
    beat_s, pulse = ledger.blocks[WORKER].state(BEAT_S), Pulse(ledger.blocks[WORKER])
    pulse.begin()
    first_s = beat_s.get()
    assert first_s > 0
    block_for_s(0.2)
    await until(lambda: beat_s.get() - first_s >= 0.2)
    pulse.end()
    *counts, lag_s = of_service(ledger).histogram("inferctl_loop_lag_seconds")
    assert sum(counts) >= 1
    assert 0.1 < lag_s < 5


async def test_a_pulse_that_ended_beats_no_more_while_another_does() -> None:
    ended, other = new_ledger(2).blocks[WORKER:]
    pulses = [Pulse(ended), Pulse(other)]
    for pulse in pulses:
        pulse.begin()
    pulses[0].end()
    began_s = other.state(BEAT_S).get()
    await until(lambda: other.state(BEAT_S).get() > began_s)
    assert ended.state(BEAT_S).get() == 0
    pulses[1].end()


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
