"""One timer for all that end in the order they began. The clock and the loop's timers are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from inferctl.server import timeouts
from inferctl.server.timeouts import Timeouts

AFTER_S = 10


class Clock:
    """A loop whose time goes on when the test says, and what the timeouts did with it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.expired: list[tuple[str, float]] = []
        self.timeouts = Timeouts(AFTER_S, self.expire)

    def monotonic(self) -> float:
        return self.now_s

    def get_running_loop(self) -> Clock:
        return self

    def call_later(self, wait_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.now_s + wait_s, callback))

    def expire(self, item: str) -> None:
        self.expired.append((item, self.now_s))

    def begin(self, *items: str) -> None:
        for item in items:
            self.timeouts.begin(item, self.now_s)

    def pass_on(self, seconds: float) -> None:
        """Time goes on; the timer rings when it should."""
        until_s = self.now_s + seconds
        while self.timers and self.timers[0][0] <= until_s:
            self.now_s, ring = self.timers.pop(0)
            ring()
        self.now_s = until_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timeouts, "time", clock)
    monkeypatch.setattr(timeouts, "asyncio", SimpleNamespace(get_running_loop=lambda: clock))
    return clock


def test_an_item_expires_when_its_time_is_over_and_not_before(clock: Clock) -> None:
    clock.begin("a")
    clock.pass_on(9.9)
    assert clock.expired == []
    clock.pass_on(0.2)
    assert clock.expired == [("a", 1010.0)]
    clock.pass_on(100)
    assert len(clock.expired) == 1


def test_each_item_has_its_own_time(clock: Clock) -> None:
    for item in "abc":
        clock.begin(item)
        clock.pass_on(3)
    clock.pass_on(100)
    assert clock.expired == [("a", 1010.0), ("b", 1013.0), ("c", 1016.0)]


def test_items_that_began_together_expire_together(clock: Clock) -> None:
    clock.begin("a", "b", "c")
    clock.pass_on(AFTER_S)
    assert [item for item, _ in clock.expired] == ["a", "b", "c"]


def test_an_item_that_came_in_time_does_not_expire(clock: Clock) -> None:
    clock.begin("a", "b")
    clock.timeouts.end("a", None)
    clock.timeouts.end("a", None)
    clock.timeouts.end("never begun", None)
    clock.pass_on(100)
    assert clock.expired == [("b", 1010.0)]


def test_an_item_that_begins_again_has_all_its_time_again(clock: Clock) -> None:
    clock.begin("a")
    clock.pass_on(9)
    clock.timeouts.end("a", None)
    clock.begin("a")
    clock.pass_on(100)
    assert clock.expired == [("a", 1019.0)]


def test_an_item_may_have_begun_a_while_ago(clock: Clock) -> None:
    clock.timeouts.begin("a", clock.now_s - 4)
    clock.timeouts.begin("b", clock.now_s - 1)
    clock.pass_on(100)
    assert clock.expired == [("a", 1006.0), ("b", 1009.0)]


def test_thousands_of_items_need_one_timer(clock: Clock) -> None:
    for number in range(1000):
        clock.begin(str(number))
        clock.pass_on(0.001)
        assert len(clock.timers) == 1
    clock.pass_on(5)
    assert len(clock.timers) == 1


def test_without_items_there_is_no_timer(clock: Clock) -> None:
    clock.begin("a")
    clock.timeouts.end("a", None)
    clock.pass_on(100)
    assert clock.timers == []
    clock.begin("b")
    clock.pass_on(100)
    assert [item for item, _ in clock.expired] == ["b"]


def test_a_timer_that_rings_early_expires_nobody(clock: Clock) -> None:
    """Loops round their timers."""
    clock.begin("a")
    clock.now_s += 9.999
    clock.timers.pop()[1]()
    assert clock.expired == []
    clock.pass_on(1)
    assert [item for item, _ in clock.expired] == ["a"]


def test_who_expires_may_begin_another_and_end_a_third(clock: Clock) -> None:
    def expire(item: str) -> None:
        clock.expire(item)
        if item == "a":
            many.end("c", None)
            many.begin("d", clock.now_s)

    many = Timeouts(AFTER_S, expire)
    many.begin("a", clock.now_s)
    clock.pass_on(1)
    many.begin("b", clock.now_s)
    many.begin("c", clock.now_s)
    clock.pass_on(9.5)
    assert len(clock.timers) == 1
    clock.pass_on(100)
    assert clock.expired == [("a", 1010.0), ("b", 1011.0), ("d", 1020.0)]


def test_a_bug_in_one_keeps_no_other(clock: Clock) -> None:
    def expire(item: str) -> None:
        clock.expire(item)
        if item == "a":
            raise ZeroDivisionError

    many = Timeouts(AFTER_S, expire)
    for item in "abc":
        many.begin(item, clock.now_s)
    with pytest.raises(ZeroDivisionError):
        clock.pass_on(AFTER_S)
    clock.pass_on(0.1)
    assert [item for item, _ in clock.expired] == ["a", "b", "c"]


async def test_a_real_loop_rings() -> None:
    rung: asyncio.Queue[str] = asyncio.Queue()
    Timeouts(0.01, rung.put_nowait).begin("a", asyncio.get_running_loop().time())
    assert await rung.get() == "a"
