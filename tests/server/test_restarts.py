"""The last death is found among those of all processes, and comes with advice."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import get_args

import pytest

from inferctl.arena.ledger import DIED_OF, DIED_S, Ledger
from inferctl.arena.metric import DEATH_REASONS
from inferctl.server.restarts import Reason, Restart, Role, caution_of, last_restart

from .wiring import make_ledger

FIRST, SECOND = Ledger.FIRST_WORKER, Ledger.FIRST_WORKER + 1


def dies(ledger: Ledger, process: int, reason: str, ago_s: float) -> None:
    block = ledger.blocks[process]
    block.state(DIED_OF).set(DEATH_REASONS.index(reason))
    block.state(DIED_S).set(time.monotonic() - ago_s)


def test_nobody_died() -> None:
    assert last_restart(make_ledger()) is None


@pytest.mark.parametrize(
    ("process", "role"), [(Ledger.ENGINE, "engine"), (FIRST, "worker"), (SECOND, "worker")]
)
def test_the_last_of_all_deaths_counts(process: int, role: str) -> None:
    ledger = make_ledger(workers=2)
    for other in (Ledger.ENGINE, FIRST, SECOND):
        dies(ledger, other, "exit", ago_s=500)
    dies(ledger, process, "killed", ago_s=30)
    restart = last_restart(ledger)
    assert restart is not None
    assert (restart.role, restart.reason) == (role, "killed")
    assert 30 <= restart.ago_s < 100
    happened_s = datetime.now(UTC).timestamp() - datetime.fromisoformat(restart.at).timestamp()
    assert happened_s == pytest.approx(restart.ago_s, abs=5)


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("reason", DEATH_REASONS)
def test_each_reason_has_its_advice(role: Role, reason: Reason) -> None:
    restart = Restart(role=role, reason=reason, at="", ago_s=12.3)
    said = caution_of(restart)
    assert said.startswith(f"the {role} was started again 12 s ago ({reason}): look ")
    assert reason in get_args(Reason)
    assert ("request log" in said) == (role == "engine" and reason in ("crash", "timeout"))
