"""Allocating runs and captures keep out of each other's way."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

from inferctl.engine.captures import Captures

from .fakes import TIMEOUT_S


class Inside:
    """A thread that is in the context until it is let go."""

    def __init__(self, pool: ThreadPoolExecutor, context: AbstractContextManager[None]) -> None:
        self.entered, self._go = threading.Event(), threading.Event()
        self._done: Future[None] = pool.submit(self._work, context)

    def _work(self, context: AbstractContextManager[None]) -> None:
        with context:
            self.entered.set()
            assert self._go.wait(TIMEOUT_S)

    def leave(self) -> None:
        """Returns when it has."""
        self._go.set()
        self._done.result(TIMEOUT_S)


def test_runs_go_side_by_side() -> None:
    captures = Captures()
    with captures.allocating(), captures.allocating():
        pass


def test_a_capture_waits_for_the_runs_and_runs_for_the_capture() -> None:
    captures = Captures()
    with ThreadPoolExecutor() as pool:
        run = Inside(pool, captures.allocating())
        assert run.entered.wait(TIMEOUT_S)
        capture = Inside(pool, captures.capturing())
        captures_wait(captures, 1)
        late = Inside(pool, captures.allocating())
        waits(captures, 2)
        assert not capture.entered.is_set()
        run.leave()
        assert capture.entered.wait(TIMEOUT_S)
        assert not late.entered.is_set(), "a capture that waits goes first"
        capture.leave()
        assert late.entered.wait(TIMEOUT_S)
        late.leave()


def test_captures_go_one_by_one() -> None:
    captures = Captures()
    with ThreadPoolExecutor() as pool:
        first = Inside(pool, captures.capturing())
        assert first.entered.wait(TIMEOUT_S)
        second = Inside(pool, captures.capturing())
        captures_wait(captures, 2)
        assert not second.entered.is_set()
        first.leave()
        assert second.entered.wait(TIMEOUT_S)
        second.leave()


def waits(captures: Captures, count: int) -> None:
    """Until so many threads wait, for whatever."""
    waiters = captures._changed._waiters  # type: ignore[attr-defined]
    while len(waiters) < count:
        time.sleep(0.001)


def captures_wait(captures: Captures, count: int) -> None:
    """Until so many captures are there."""
    with captures._changed:
        # Whoever arrives tells nobody of it: it is asked again each time.
        while captures._captures < count:
            captures._changed.wait(0.001)
