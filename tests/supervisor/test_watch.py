"""When an engine is killed: a run that does not end, a standstill; never for want of a core."""

from __future__ import annotations

import mmap
from typing import cast

import pytest

from inferctl.arena.ledger import LOOKED_S, OVERDUE_S, Ledger, ledger_bytes
from inferctl.progress import LONGEST_LOOK_S
from inferctl.supervisor import watch as watch_module
from inferctl.supervisor.child import Child
from inferctl.supervisor.watch import GRACE_S, LOOK_S, STALL_S, Watch

BORN_S = 100.0


class Engine:
    """Is born, and says what the test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pid, self.born_s = 7, BORN_S
        self.block = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks[Ledger.ENGINE]
        self.block.cell("inferctl_engine_ready").set(1)
        self.watch = Watch(cast(Child, self), self.block)
        self.now_s = BORN_S
        self.wants_cpu, self.cpu_s = True, 0.0
        monkeypatch.setattr(watch_module, "wants_cpu", lambda pid: self.wants_cpu)
        monkeypatch.setattr(watch_module, "cpu_seconds", lambda pid: self.cpu_s)

    def passes(self, seconds: float, *, cpu: float = 0.0, look_s: float = LOOK_S) -> str:
        """Looked at every so often; why it is to be killed."""
        end_s = self.now_s + seconds
        why = ""
        while self.now_s < end_s and not why:
            self.now_s += look_s
            self.cpu_s += cpu * look_s
            why = self.watch.look(self.now_s)
        return why

    def says(self, cell: int, value: float) -> None:
        self.block.state(cell).set(value)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


@pytest.mark.row(88)
@pytest.mark.parametrize(("wants_cpu", "cpu"), [(True, 1.0), (False, 0.0)])
def test_a_run_that_does_not_end_when_told_to_has_a_moment_for_it(
    engine: Engine, wants_cpu: bool, cpu: float
) -> None:
    engine.wants_cpu = wants_cpu
    assert not engine.passes(1)
    engine.says(OVERDUE_S, engine.now_s)
    assert not engine.passes(GRACE_S - LOOK_S, cpu=cpu)
    assert "a run" in engine.passes(3 * LOOK_S, cpu=cpu)


@pytest.mark.row(14)
def test_a_run_that_gets_no_core_to_end_on_is_given_time(engine: Engine) -> None:
    assert not engine.passes(1)
    engine.says(OVERDUE_S, engine.now_s)
    assert not engine.passes(1, cpu=0.05)
    assert "a run" in engine.passes(GRACE_S, cpu=0.9)


def test_a_run_that_was_stopped_with_all_others_has_its_moment_afterwards(engine: Engine) -> None:
    engine.wants_cpu = False
    assert not engine.passes(1)
    engine.says(OVERDUE_S, engine.now_s)
    assert not engine.passes(60, look_s=60)
    assert "a run" in engine.passes(GRACE_S)


def test_what_the_predecessor_said_is_nothing_to_the_successor(engine: Engine) -> None:
    engine.says(OVERDUE_S, BORN_S - 1)
    assert not engine.passes(1)


@pytest.mark.row(88)
def test_an_engine_that_stands_still_is_killed(engine: Engine) -> None:
    engine.wants_cpu = False
    assert not engine.passes(STALL_S)
    assert engine.passes(GRACE_S + 3 * LOOK_S) == "it stands still"


def test_one_that_goes_on_is_not(engine: Engine) -> None:
    engine.wants_cpu = False
    for _ in range(5):
        engine.says(LOOKED_S, engine.now_s)
        assert not engine.passes(STALL_S)


def test_one_that_loads_may_stand_still(engine: Engine) -> None:
    engine.wants_cpu = False
    engine.block.cell("inferctl_engine_ready").set(0)
    assert not engine.passes(10 * STALL_S)


@pytest.mark.row(14)
def test_one_that_gets_no_core_is_not_killed_until_it_had_some(engine: Engine) -> None:
    assert not engine.passes(3 * STALL_S, cpu=0.05)
    assert engine.passes(3 * STALL_S, cpu=0.9) == "it stands still"


def test_a_supervisor_that_was_stopped_too_does_not_blame_the_engine(engine: Engine) -> None:
    engine.wants_cpu = False
    assert not engine.passes(3 * 60, look_s=60)
    assert engine.passes(STALL_S + GRACE_S, look_s=LONGEST_LOOK_S)
