"""The loop against real sockets: what servers do to connections, and what is recorded of it."""

from __future__ import annotations

import itertools
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import Mock

import pytest
from connections import Server, find_server
from loop import NO_ANSWER, RETRY_S, TICK_S, WARM, Loop

from tests.certificate import write_certificate

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BODY = b"x" * 300_000
REQUEST = b"POST /p HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY

Script = Callable[[socket.socket, int], bool]
Row = tuple[float, float, float, int, int]


def answers(connection: socket.socket, number: int) -> bool:
    """A whole request is answered; False at the end of the connection."""
    left = len(REQUEST)
    while left:
        data = connection.recv(left)
        if not data:
            return False
        left -= len(data)
    connection.sendall(OK)
    return True


@contextmanager
def served(script: Script, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server whose connections do what the script says while it is True.

    They are numbered from 0, which looks whether somebody listens.
    """

    def talk(connection: socket.socket, number: int) -> None:
        try:
            with context.wrap_socket(connection, True) if context else connection as wrapped:
                while script(wrapped, number):
                    pass
        except OSError:
            pass  # the loop was done first

    def accept() -> None:
        for number in itertools.count():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection, number), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http{'s' if context else ''}://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


class Enough(Exception):
    """The loop has run for long enough."""


@contextmanager
def looping(server: Server, rows: list[Row], **options: Any) -> Iterator[Loop]:
    """A loop that records to a list."""
    loop = Loop(
        server, itertools.repeat(REQUEST), lambda *row: rows.append(row), epoll=select.epoll(),
        select=select.select, **options,
    )  # fmt: skip
    yield loop
    loop.close()


def run_until(loop: Loop, is_enough: Callable[[], bool]) -> None:
    """Run a loop until something is so, for ten seconds at most."""
    limit_s = time.monotonic() + 10

    def breathe() -> None:
        assert time.monotonic() < limit_s
        if is_enough():
            raise Enough

    with pytest.raises(Enough):
        loop.run(breathe)


def test_users_ask_again_when_answered() -> None:
    """Two of them, until they are to stop."""
    rows: list[Row] = []
    with served(answers) as url, looping(find_server(url), rows) as loop:
        users, left = [loop.add_user(), loop.add_user()], []
        run_until(loop, lambda: len(rows) >= 50)
        for user in users:
            loop.retire(user, lambda: left.append(1))
        run_until(loop, lambda: len(left) == 2)
    assert {row[3:] for row in rows} == {(200, 2)}
    assert all(begun_s <= sent_s <= ended_s for begun_s, sent_s, ended_s, *_ in rows)


def test_no_time_is_lost_between_an_answer_and_the_next_request() -> None:
    rows: list[Row] = []
    with served(answers) as url, looping(find_server(url), rows) as loop:
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 50)
    assert median(after[0] - before[2] for before, after in itertools.pairwise(rows)) < 0.0005


def test_who_is_alone_waits_in_the_receiving_and_asks_no_epoll_for_each_answer() -> None:
    rows: list[Row] = []
    with served(lambda connection, _: echo(connection)) as url:
        epoll = Mock(wraps=select.epoll())
        loop = Loop(
            find_server(url), itertools.repeat(b"POST"), lambda *row: rows.append(row), epoll=epoll,
            select=select.select,
        )  # fmt: skip
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 50)
        took_s = rows[-1][2] - rows[0][0]
        alone = epoll.poll.call_count
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 1000)
        loop.close()
    assert {row[3:] for row in rows} == {(200, 2)}
    assert alone <= took_s / TICK_S + 5
    assert epoll.poll.call_count - alone > 300


def echo(connection: socket.socket) -> bool:
    """Any bytes are a request."""
    if not connection.recv(65536):
        return False
    connection.sendall(OK)
    return True


def test_a_clock_waits_for_nobody() -> None:
    """Nothing is answered: all are sent at their times, and given up as unanswered in the end."""
    rows: list[Row] = []
    with (
        served(lambda connection, _: bool(connection.recv(65536))) as url,
        looping(find_server(url), rows) as loop,
    ):
        loop.warm_up()
        begin_s = time.monotonic()
        clock = loop.add_clock(iter([0.01 * number for number in range(30)]), begin_s)
        run_until(loop, lambda: loop.under_way() == 30)
        loop.remove_clock(clock)
        loop.give_up()
    assert [row[0] - begin_s for row in rows] == [pytest.approx(0.01 * n) for n in range(30)]
    assert max(row[1] - row[0] for row in rows) < 0.1
    assert {row[3] for row in rows} == {NO_ANSWER}
    assert loop.under_way() == 0


def test_what_is_due_while_all_connections_are_busy_counts_from_when_it_was_due() -> None:
    """One connection and four requests of 50 ms at once: the last is answered after 200 ms."""
    rows: list[Row] = []

    def slowly(connection: socket.socket, number: int) -> bool:
        time.sleep(0.05)
        return answers(connection, number)

    with served(slowly) as url, looping(find_server(url), rows, most=1) as loop:
        loop.add_clock(iter([0.0] * 4), time.monotonic())
        run_until(loop, lambda: len(rows) == 4)
    assert loop.crowded
    for number, (begun_s, _, ended_s, *_) in enumerate(rows, start=1):
        assert ended_s - begun_s == pytest.approx(0.05 * number, abs=0.04)


def test_a_clock_that_is_removed_sends_what_was_due() -> None:
    """The generator was held up for longer than its times: they were wanted, so they are sent."""
    rows: list[Row] = []
    with served(answers) as url, looping(find_server(url), rows) as loop:
        begin_s = time.monotonic() - 1.0
        clock = loop.add_clock(iter([0.1, 0.2, 0.3, 99.0]), begin_s)
        loop.remove_clock(clock)
        loop.warm_up()
        run_until(loop, lambda: loop.under_way() == 0)
    assert sorted(round(row[0] - begin_s, 3) for row in rows) == [0.1, 0.2, 0.3]
    assert min(row[2] - row[0] for row in rows) > 0.6


def test_who_rests_begins_nothing_and_goes_on_where_it_stood() -> None:
    """A user who was there, and one who comes meanwhile."""
    rows: list[Row] = []
    with served(answers) as url, looping(find_server(url), rows) as loop:
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 3)
        loop.rest()
        run_until(loop, loop.is_idle)
        loop.add_user()
        rested_from_s, seen = time.monotonic(), len(rows)
        run_until(loop, lambda: time.monotonic() > rested_from_s + 0.1)
        assert len(rows) == seen
        loop.go_on()
        run_until(loop, lambda: len(rows) >= seen + 10)
    assert min(row[1] for row in rows[seen:]) > rested_from_s + 0.1


def test_after_a_rest_all_connections_are_new_and_open() -> None:
    """No request of a clock waits for one."""
    rows: list[Row] = []
    seen: list[int] = []

    def counted(connection: socket.socket, number: int) -> bool:
        seen.append(number)
        return answers(connection, number)

    with served(counted) as url, looping(find_server(url), rows) as loop:
        loop.warm_up()
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 5 and len(set(seen)) > WARM)
        loop.rest()
        run_until(loop, loop.is_idle)
        before = set(seen)
        loop.go_on()
        run_until(loop, lambda: len(set(seen) - before) == WARM + 1)


def test_what_is_given_up_in_a_rest_was_not_answered() -> None:
    """And whoever asked for it goes on afterwards."""
    rows: list[Row] = []

    def silent(connection: socket.socket, number: int) -> bool:
        return answers(connection, number) if number > 1 else bool(connection.recv(65536))

    with served(silent) as url, looping(find_server(url), rows) as loop:
        loop.add_user()
        run_until(loop, lambda: not loop.is_idle())
        loop.rest()
        loop.give_up()
        assert loop.is_idle()
        assert [row[3] for row in rows] == [NO_ANSWER]
        loop.go_on()
        run_until(loop, lambda: len(rows) >= 3)
    assert {row[3] for row in rows[1:]} == {200}


def test_a_clock_goes_on_after_a_rest() -> None:
    rows: list[Row] = []
    with served(answers) as url, looping(find_server(url), rows) as loop:
        loop.warm_up()
        loop.rest()
        begin_s = time.monotonic()
        loop.add_clock(iter([0.1]), begin_s)
        run_until(loop, lambda: time.monotonic() > begin_s + 0.2)
        assert rows == []
        loop.go_on()
        went_on_s = time.monotonic()
        run_until(loop, lambda: len(rows) == 1)
    assert rows[0][0] - went_on_s == pytest.approx(0.1, abs=0.02)


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    """Servers close what is idle; the request goes out once more, and its time runs on."""
    rows: list[Row] = []
    with (
        served(lambda connection, number: answers(connection, number) and number > 1) as url,
        looping(find_server(url), rows) as loop,
    ):
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 3)
    assert {row[3] for row in rows} == {200}


def test_a_connection_that_breaks_within_an_answer_is_one() -> None:
    """Half an answer is none; the user tries again after a while."""
    rows: list[Row] = []

    def half(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.recv(1)
            connection.sendall(OK[:20])
            return False
        return answers(connection, number)

    with served(half) as url, looping(find_server(url), rows) as loop:
        loop.add_user()
        run_until(loop, lambda: len(rows) >= 2)
    assert [row[3] for row in rows[:2]] == [NO_ANSWER, 200]
    assert rows[1][0] - rows[0][2] >= RETRY_S


def test_nobody_listens() -> None:
    """Every try of a user and every request of a clock is a failure; neither floods."""
    rows: list[Row] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with looping(find_server(url), rows) as loop:
        loop.add_user()
        loop.add_clock(iter([0.0] * 5), time.monotonic())
        begun_s = time.monotonic()
        run_until(loop, lambda: time.monotonic() > begun_s + 3.5 * RETRY_S)
    assert {row[3] for row in rows} == {NO_ANSWER}
    assert 5 + 2 <= len(rows) <= 5 + 5


def test_what_is_never_answered_is_given_up() -> None:
    """After the timeout; the user asks on."""
    rows: list[Row] = []
    with (
        served(lambda connection, _: bool(connection.recv(65536))) as url,
        looping(find_server(url), rows, timeout_s=0.1) as loop,
    ):
        user, left = loop.add_user(), []
        run_until(loop, lambda: len(rows) == 1)
        loop.retire(user, lambda: left.append(1))
        loop.abandon(user)
    assert rows[0][3] == NO_ANSWER
    assert rows[0][2] - rows[0][0] >= 0.1
    assert left == [1]


def test_a_user_that_is_abandoned_leaves_its_request_unanswered() -> None:
    """Locust kills who does not end in time: the slowest requests must not be left out."""
    rows: list[Row] = []
    with (
        served(lambda connection, _: bool(connection.recv(65536))) as url,
        looping(find_server(url), rows) as loop,
    ):
        user = loop.add_user()
        begun_s = time.monotonic()
        run_until(loop, lambda: time.monotonic() > begun_s + 0.05)
        loop.abandon(user)
        loop.abandon(user)
    assert [row[3] for row in rows] == [NO_ANSWER]


def test_tls(tmp_path: Path) -> None:
    """Bodies larger than a record and than the system takes at once; the certificate is checked."""
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    rows: list[Row] = []
    refused: list[Row] = []
    with served(answers, context) as url:
        with looping(find_server(url, str(certificate)), rows) as loop:
            loop.add_user()
            run_until(loop, lambda: len(rows) >= 5)
        with looping(find_server(url), refused) as loop:
            loop.add_user()
            run_until(loop, lambda: len(refused) >= 1)
    assert {row[3] for row in rows} == {200}
    assert {row[3] for row in refused} == {NO_ANSWER}
