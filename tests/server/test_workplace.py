"""What all requests of a worker work with is there before the first of them comes."""

from __future__ import annotations

import threading

import pytest

from inferctl.errors import StartError
from inferctl.server import workplace
from inferctl.server.workplace import _all_started


def decoders() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("decode")}


@pytest.mark.row(129)
def test_decoders_have_their_threads_before_there_is_anything_to_decode() -> None:
    others = decoders()  # of other tests, which may be on their way out
    with _all_started(3) as pool:
        started = decoders() - others
        assert len(started) == 3
        assert [pool.submit(len, "x").result() for _ in range(9)] == [1] * 9
        assert decoders() - others == started


@pytest.mark.row(129)
def test_without_threads_there_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(StartError, match="cannot start the decoders: can't start new thread"):
        _all_started(3)
    started[0].join(60)
    assert not started[0].is_alive(), "the one that started was let go"


def test_a_thread_that_dies_before_it_began_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workplace, "START_TIMEOUT_S", 0.05)
    start, died = threading.Thread.start, list[threading.Thread]()

    def start_all_but_one(thread: threading.Thread) -> None:
        if died:
            start(thread)
        else:
            died.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start_all_but_one)
    with pytest.raises(StartError, match="the decoders did not start"):
        _all_started(2)
    start(died[0])  # for the interpreter waits for it at its end
