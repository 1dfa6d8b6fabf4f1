"""Which deaths count, which a client is to blame for, and how they are named."""

from __future__ import annotations

import mmap
import time

import pytest

from inferctl.arena.ledger import DIED_OF, DIED_S, TRYING, Ledger, ledger_bytes
from inferctl.arena.metric import DEATH_REASONS
from inferctl.supervisor.backoff import FIRST_DELAY_S, JITTER, MAX_DEATHS
from inferctl.supervisor.past import EnginePast, Past


class History:
    def __init__(self) -> None:
        blocks = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks
        self.engines = blocks[Ledger.ENGINE]
        self.trying = self.engines.state(TRYING)
        self.supervisors = blocks[Ledger.SUPERVISOR]
        self.past = EnginePast(self.engines, self.supervisors)


@pytest.mark.row(84)
def test_rows_that_kill_engines_end_no_service() -> None:
    history = History()
    for _ in range(5 * MAX_DEATHS):
        assert history.past.next_delay_s() is not None, "in a batch"
        for _ in range(3):
            history.trying.set(1.0)
            delay_s = history.past.next_delay_s()
            assert delay_s is not None, "alone"
            assert delay_s <= FIRST_DELAY_S * (1 + JITTER)
            assert history.trying.get() == 0


def test_nor_do_those_whose_clients_do_not_wait_for_their_trial() -> None:
    history = History()
    for _ in range(5 * MAX_DEATHS):
        assert history.past.next_delay_s() is not None
        history.past.is_ready(untried=1)


@pytest.mark.row(94)
def test_an_engine_whose_rows_are_all_innocent_keeps_dying() -> None:
    history = History()
    for _ in range(MAX_DEATHS):
        assert history.past.next_delay_s() is not None
        history.past.is_ready(untried=0)
    assert history.past.next_delay_s() is None


@pytest.mark.row(93)
@pytest.mark.parametrize(
    ("code", "was_hanging", "reason"),
    [
        (0, False, "exit"),
        (1, False, "exit"),
        (-9, False, "killed"),
        (-9, True, "timeout"),
        (-11, False, "crash"),
        (-8, False, "crash"),
        (-6, False, "crash"),
    ],
)
def test_a_death_is_counted_by_its_reason(code: int, was_hanging: bool, reason: str) -> None:
    history = History()
    assert history.past.note(code, was_hanging=was_hanging) == reason
    assert history.supervisors.cell("inferctl_engine_restarts_total", value=reason).get() == 1


def test_when_and_of_what_a_process_died_last_is_kept() -> None:
    history = History()
    for past in (history.past, Past(history.engines)):
        for code, reason in ((-11, "crash"), (1, "exit")):
            before_s = time.monotonic()
            past.note(code)
            assert DEATH_REASONS[int(history.engines.state(DIED_OF).get())] == reason
            assert before_s <= history.engines.state(DIED_S).get() <= time.monotonic()


def test_how_long_a_successor_takes_is_known_from_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first start takes longer, and says nothing about it."""
    past = History().past
    events = (past.is_ready, 60.0, 0.0), (past.is_born, 67.0, 0.0), (past.is_ready, 69.5, 2.5)
    for event, now_s, took_s in events:
        monkeypatch.setattr(time, "monotonic", lambda now_s=now_s: now_s)
        event()
        assert past.start_took_s == took_s
