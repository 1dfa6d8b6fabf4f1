"""A worker whose event loop is blocked is told of once, and ended when it stays so."""

from __future__ import annotations

import mmap
from typing import cast

import pytest

from inferctl.arena.ledger import BEAT_S, Ledger, ledger_bytes
from inferctl.supervisor.child import Child
from inferctl.supervisor.loops import LOOK_EVERY_S, LOST_S, STALL_S, LoopWatch


class Worker:
    def __init__(self) -> None:
        self.pid = 7
        self.heard: list[str] = []

    def tell_stacks(self) -> None:
        self.heard.append("stacks")

    def kill(self) -> None:
        self.heard.append("end")


class Watched:
    """Two workers, and a clock; the second one always beats."""

    def __init__(self) -> None:
        self.ledger = Ledger(mmap.mmap(-1, ledger_bytes(4)), 2)
        self.workers = Worker(), Worker()
        self.watch = LoopWatch([cast(Child, worker) for worker in self.workers], self.ledger)
        self.now_s = 1000.0
        self.beat(0)

    def beat(self, worker: int) -> None:
        block = self.ledger.blocks[Ledger.FIRST_WORKER + worker]
        block.state(BEAT_S).set(self.now_s)

    def pass_s(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK_EVERY_S)):
            self.now_s += LOOK_EVERY_S
            self.beat(1)
            self.watch.look(self.now_s)

    def has_killed(self, worker: int) -> bool:
        return self.watch.has_killed(cast(Child, self.workers[worker]))

    @property
    def stalls(self) -> float:
        return self.ledger.total("inferctl_loop_stalls_total")


@pytest.mark.row(103)
def test_a_stall_is_told_of_once() -> None:
    watched = Watched()
    watched.pass_s(STALL_S - LOOK_EVERY_S)
    assert watched.workers[0].heard == []
    watched.pass_s(LOST_S / 2)
    assert (watched.workers[0].heard, watched.stalls) == (["stacks"], 1)
    watched.beat(0)
    watched.pass_s(1)
    watched.pass_s(STALL_S)
    assert (watched.workers[0].heard, watched.stalls) == (["stacks"] * 2, 2)
    assert watched.workers[1].heard == []


@pytest.mark.row(103)
def test_a_worker_that_stays_blocked_is_ended() -> None:
    watched = Watched()
    watched.pass_s(LOST_S)
    assert watched.workers[0].heard == ["stacks"]
    assert not watched.has_killed(0)
    watched.pass_s(1)
    assert watched.workers[0].heard == ["stacks", "end"], "once"
    assert (watched.has_killed(0), watched.has_killed(1)) == (True, False)
    watched.workers[0].pid += 1
    assert not watched.has_killed(0), "its successor"


def test_a_worker_that_does_not_beat_yet_is_not_blocked() -> None:
    watched = Watched()
    watched.ledger.blocks[Ledger.FIRST_WORKER].state(BEAT_S).set(0)
    watched.pass_s(2 * LOST_S)
    assert (watched.workers[0].heard, watched.stalls) == ([], 0)


def test_a_machine_that_was_stopped_is_no_stall() -> None:
    watched = Watched()
    watched.pass_s(1)
    watched.now_s += 3600
    watched.watch.look(watched.now_s)
    watched.beat(0)
    watched.pass_s(1)
    assert (watched.workers[0].heard, watched.stalls) == ([], 0)
