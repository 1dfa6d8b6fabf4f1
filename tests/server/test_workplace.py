"""What all requests of a worker work with is there before the first of them comes."""

from __future__ import annotations

import threading

import pytest

from inferctl.errors import StartError
from inferctl.server.workplace import _all_started


def decoders() -> int:
    return sum(thread.name.startswith("decode") for thread in threading.enumerate())


@pytest.mark.row(129)
def test_decoders_have_their_threads_before_there_is_anything_to_decode() -> None:
    before = decoders()
    with _all_started(3) as pool:
        assert decoders() == before + 3
        assert [pool.submit(len, "x").result() for _ in range(9)] == [1] * 9
        assert decoders() == before + 3


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
