"""What a thread works off behind the event loop, to its end."""

from __future__ import annotations

import pytest

from inferctl.server.backlog import CLOSE_TIMEOUT_S, Backlog
from inferctl.supervisor.service import SHUTDOWN_GRACE_S


class Taker:
    """A backlog whose thread keeps what it takes."""

    def __init__(self, gather_s: float) -> None:
        self.taken: list[list[int]] = []
        self.backlog: Backlog[int] = Backlog("taker", gather_s, self._take)

    def _take(self) -> None:
        self.taken.append([*self.backlog.items])
        self.backlog.items.clear()


def test_what_gathers_is_taken_together_at_the_end_at_the_latest() -> None:
    taker = Taker(gather_s=60)
    for number in range(3):
        taker.backlog.add(number)
    taker.backlog.close(60)
    assert taker.taken == [[0, 1, 2]]


def test_a_thread_that_has_nothing_to_do_ends() -> None:
    taker = Taker(gather_s=60)
    taker.backlog.close(60)
    assert taker.taken == [[]]


def test_an_end_that_comes_while_a_wait_is_over_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was just waited for in vain, and what would wake the thread is about to be cleared."""
    taker = Taker(gather_s=0)
    backlog = taker.backlog
    join, clear = backlog._thread.join, backlog._waiting.clear

    def clear_late() -> None:
        backlog.close(0)
        clear()

    monkeypatch.setattr(backlog._thread, "join", lambda _: None)  # it cannot wait for itself
    monkeypatch.setattr(backlog._waiting, "clear", clear_late)
    backlog.add(1)
    join(60)
    assert not backlog._thread.is_alive()
    assert taker.taken == [[1]]


def test_a_worker_ends_before_the_supervisor_ends_it() -> None:
    assert CLOSE_TIMEOUT_S < SHUTDOWN_GRACE_S
