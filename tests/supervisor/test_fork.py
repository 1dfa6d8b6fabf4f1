"""What a forked process has of its parent, and how it ends."""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from inferctl.supervisor.fork import fork


def end_of(work: Callable[[], object], inherited: Collection[int] = ()) -> int:
    """The exit code of a fork."""
    _, status = os.waitpid(fork(work, inherited), 0)
    return os.waitstatus_to_exitcode(status)


def told(look: Callable[[], Any]) -> Any:
    """What a fork finds."""
    ours, theirs = os.pipe()
    try:
        code = end_of(lambda: os.write(theirs, json.dumps(look()).encode()), [theirs])
        assert code == 0
        return json.loads(os.read(ours, 100_000))
    finally:
        os.close(ours)
        os.close(theirs)


def open_descriptors() -> list[int]:
    descriptors = [int(path.name) for path in Path("/dev/fd").iterdir()]
    return sorted(number for number in descriptors if is_open(number))


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals are the test's own."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def test_of_the_descriptors_a_fork_has_what_it_is_given_alone() -> None:
    """The loop's own, which runs here, among those it has not."""
    with socket.create_server(("127.0.0.1", 0)) as given, socket.create_server(("", 0)) as other:
        ours, theirs = os.pipe()

        def look() -> None:
            os.write(theirs, json.dumps(open_descriptors()).encode())
            assert given.getsockname()

        assert end_of(look, [theirs, given.fileno()]) == 0
        assert json.loads(os.read(ours, 1000)) == sorted([0, 1, 2, theirs, given.fileno()])
        assert other.getsockname()
        os.close(ours)
        os.close(theirs)


def test_a_fork_reads_nothing_of_what_its_parent_reads() -> None:
    ours, theirs = os.pipe()
    before = os.dup(0)
    os.dup2(ours, 0)
    try:
        os.write(theirs, b"for the parent")
        assert told(lambda: os.read(0, 100).decode()) == ""
        assert os.read(0, 100) == b"for the parent"
    finally:
        os.dup2(before, 0)
        for number in (ours, theirs, before):
            os.close(number)


def test_a_socket_that_only_a_fork_could_hold_open_is_closed() -> None:
    ours, theirs = socket.socketpair()
    wait, go = os.pipe()
    pid = fork(lambda: os.read(wait, 1), [wait])
    theirs.close()
    with ours:
        ours.settimeout(20)
        assert ours.recv(1) == b""
    os.write(go, b"!")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(wait)
    os.close(go)


class Owner:
    """Closes a number in the end, and is in a cycle, so that only the collector ends it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._itself = self

    def __del__(self) -> None:
        os.close(self._number)


def test_what_its_parent_forgot_closes_nothing_in_a_fork() -> None:
    gc.disable()
    try:
        number = os.open(os.devnull, os.O_RDONLY)
        Owner(number)

        def look() -> bool:
            os.dup2(0, number)  # it is another file now
            gc.collect()
            return is_open(number)

        assert told(look)
    finally:
        gc.enable()
    gc.collect()
    assert not is_open(number)


def fail() -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (lambda: None, 0),
        (lambda: "anything", 0),
        (lambda: sys.exit(), 0),
        (lambda: sys.exit(3), 3),
        (lambda: sys.exit("a reason"), 1),
        (fail, 1),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9),
    ],
    ids=range(7),
)
def test_a_fork_ends_as_an_interpreter_would(work: Callable[[], object], code: int) -> None:
    assert end_of(work) == code


def test_what_ends_a_fork_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "err"
    with path.open("w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        end_of(fail, [stderr.fileno()])
        end_of(lambda: sys.exit("a reason"), [stderr.fileno()])
    first, *_, last_but_one, last = path.read_text().splitlines()
    assert first.startswith("Traceback")
    assert (last_but_one, last) == ("ValueError: a bug", "a reason")


def test_nothing_is_written_twice_and_nothing_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with path.open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        stdout.write("parent ")
        assert end_of(lambda: stdout.write("child"), [stdout.fileno()]) == 0
    assert path.read_text() == "parent child"


def test_a_stream_that_takes_nothing_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert end_of(fail, [full.fileno()]) == 1
        monkeypatch.setattr(sys, "stderr", None)
        assert end_of(fail) == 1
        assert end_of(lambda: None) == 0


def test_what_its_parent_does_in_the_end_a_fork_does_not() -> None:
    ours, theirs = os.pipe()
    write = atexit.register(lambda: os.write(theirs, b"!"))
    assert end_of(lambda: None, [theirs]) == 0
    atexit.unregister(write)
    os.close(theirs)
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_a_fork_has_a_session_of_its_own() -> None:
    sid, pid = told(lambda: (os.getsid(0), os.getpid()))
    assert sid == pid != os.getpid()


@pytest.mark.usefixtures("handlers")
async def test_a_fork_has_none_of_its_parent_s_handlers() -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        loop.add_signal_handler(number, fail)
    assert told(
        lambda: {
            "stops": [signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, 15)],
            "other": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
            "wakes": signal.set_wakeup_fd(-1),
            "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        }
    ) == {"stops": [True, True], "other": True, "wakes": -1, "blocked": 0}


@pytest.mark.usefixtures("handlers")
def test_a_signal_in_the_moment_of_the_fork_is_its_parent_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append(os.getpid()))
    fork_alone = os.fork

    def fork_under_fire() -> int:
        # To this thread: of others, which a supervisor does not have, one would take it at once.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        pid = fork_alone()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(os, "fork", fork_under_fire)
    assert told(lambda: heard) == []
    assert heard == [os.getpid()]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
async def test_a_fork_runs_a_loop_of_its_own(run: Callable[[Any], Any]) -> None:
    async def life() -> bool:
        ours, theirs = socket.socketpair()
        theirs.send(b"!")
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        read = await reader.read()
        writer.close()
        return read == b"!"

    assert told(lambda: run(life()))
    # And its parent's loop still sees what it waited for.
    assert await life()


def test_a_fork_that_fails_leaves_its_parent_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        fork(lambda: None, [])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_descriptors_are_closed_where_they_cannot_be_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("inferctl.supervisor.fork.OPEN", tmp_path / "none")
    with socket.socket() as other:
        number = other.fileno()
        assert told(lambda: is_open(number)) is False
