"""The threads that run a model's batches: what one is given, in its order."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from inferctl.engine.crew import Crew, Member
from inferctl.engine.session import RunFailed

from .fakes import TIMEOUT_S


class Somebody:
    """An instance that notes whose it is."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def enter(self) -> None:
        self.threads.append(threading.get_ident())

    def run(self, *_: Any) -> list[Any]:
        raise NotImplementedError


def test_a_member_does_what_it_is_given_in_that_order() -> None:
    member, done = Member("one", Somebody()), SimpleQueue[int]()
    member.start()
    for number in range(3):
        member.begin(lambda number=number: done.put(number))  # type: ignore[misc]
    assert member.call(lambda: threading.get_ident()) == member.ident
    member.end()
    member.join(TIMEOUT_S)
    assert [done.get_nowait() for _ in range(3)] == [0, 1, 2]


def test_what_a_call_raises_is_raised_where_it_is_waited_for() -> None:
    crew = Crew("some", [Somebody()])
    with pytest.raises(ZeroDivisionError):
        crew.first(lambda: 1 // 0)
    assert crew.first(lambda: 7) == 7, "and the thread lives on"
    crew.end()


def test_each_instance_has_a_thread_of_its_own() -> None:
    instances = [Somebody(), Somebody()]
    crew = Crew("some", instances[:1])
    crew.first(instances[0].enter)
    crew.add(instances[1], instances[1].enter)
    crew.end()
    assert [one.threads for one in instances] == [[member.ident] for member in crew.members]


def test_who_fails_at_first_is_none_of_the_crew() -> None:
    threads = threading.active_count()
    crew = Crew("some", [Somebody()])
    with pytest.raises(ZeroDivisionError):
        crew.add(Somebody(), lambda: 1 // 0)
    assert (len(crew.members), threading.active_count()) == (1, threads + 1)
    crew.end()


def test_what_has_failed_is_let_go_of_at_once() -> None:
    """Memory of a device, if it is more than an array."""
    crew, held = Crew("some", [Somebody()]), Somebody()
    freed = weakref.ref(held)

    def fails(_: Somebody) -> None:
        raise RunFailed("no")

    gc.disable()
    try:
        with pytest.raises(RunFailed) as caught:
            crew.first(partial(fails, held))
        del caught, held
        assert freed() is None
    finally:
        gc.enable()
        crew.end()


def test_a_crew_may_begin_anew_with_another() -> None:
    threads = threading.active_count()
    crew, other = Crew("some", [Somebody(), Somebody()]), Somebody()
    crew.begin_with(other)
    assert [member.instance for member in crew.members] == [other]
    assert crew.first(threading.get_ident) == crew.members[0].ident
    crew.end()
    assert threading.active_count() == threads


def test_a_crew_that_cannot_have_all_its_threads_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, start = threading.active_count(), threading.Thread.start

    def start_the_first(thread: threading.Thread) -> None:
        if thread.name.endswith("-1"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_the_first)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Crew("some", [Somebody(), Somebody()])
    assert threading.active_count() == threads
