"""Many connections in one loop: users who ask again when answered, and clocks that do not wait.

A greenlet per connection costs three times as much per request, and its turns would be in the
latencies. The loop waits in the system, not in gevent, and calls `breathe` 50 to 100 times a second
so that the others in this process have theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from clocks import Clocks
from connections import BUSY, CLOSED, IDLE, NOTHING, OPENING, READABLE, WRITABLE, Connection, Server
from http1 import AT_ONCE, WAIT
from waits import Waits

TICK_S = 0.01
SWEEP_S = 0.5
# Between looks at the connections: what is overdue must not keep answers waiting.
BURST = 16
# Who is refused a connection asks again, but not at once: that would be a load of its own.
RETRY_S = 0.1
# Clocks open so many before the first request, and more when these are busy.
WARM = 16
NO_ANSWER = 0

# Called with when a request was to begin, did begin, and ended, its answer's status and bytes.
Record = Callable[[float, float, float, int, int], object]


class Loop:
    """Sends `requests` in turn and records each. `most` connections are opened for clocks.

    `crowded`: all of them were busy once, so that requests waited for one.
    """

    def __init__(
        self, server: Server, requests: Iterator[bytes], record: Record, *, epoll: Any,
        select: Callable[..., Any], most: int = 1024, timeout_s: float = 60.0,
    ) -> None:  # fmt: skip
        self._server, self._requests, self._record = server, requests, record
        self._most, self._timeout_s, self._waits = most, timeout_s, Waits(epoll, select)
        self._by_fd: dict[int, Connection] = {}
        self._users: set[Connection] = set()
        self._pool: list[Connection] = []
        self._free: deque[Connection] = deque()
        # Times of requests whose turn has come and for which there is no connection.
        self._waiting: deque[float] = deque()
        self._clocks = Clocks()
        self._refused: deque[tuple[float, Connection]] = deque()
        # Users who would ask, were it not that all rest.
        self._resting: list[Connection] = []
        self._rests = False
        self.crowded = False

    def add_user(self) -> Connection:
        """Someone who asks at once, and again when answered."""
        user = Connection(self._waits.epoll, of_user=True)
        self._users.add(user)
        self._next(user, time.monotonic())
        return user

    def retire(self, user: Connection, left: Callable[[], object]) -> None:
        """Let a user ask no more; `left` is called when nothing of it is under way."""
        user.left = left
        if not user.request:
            self._leave(user)

    def abandon(self, user: Connection) -> None:
        """Take a user out now; what is under way counts as not answered."""
        if user in self._users:
            user.left = user.left or int
            if user.request:
                self._fail(user)
            else:
                self._leave(user)

    def warm_up(self) -> None:
        """Open the connections that clocks begin with."""
        while len(self._pool) < min(WARM, self._most):
            self._free.append(self._pooled())
            self._open(self._free[-1])

    def add_clock(self, times: Iterator[float], begin_s: float) -> int:
        """Send a request at each of `times` after `begin_s`, whatever became of those before."""
        return self._clocks.add(times, begin_s)

    def remove_clock(self, number: int) -> None:
        """Stop it. What was due before now is sent still: it was wanted."""
        self._waiting.extend(self._clocks.remove(number, time.monotonic()))

    def has_clocks(self) -> bool:
        """Whether there is one that goes on."""
        return bool(self._clocks)

    def under_way(self) -> int:
        """Requests of clocks that are not answered yet."""
        return len(self._waiting) + sum(bool(one.request) for one in self._pool)

    def rest(self) -> None:
        """Begin nothing until `go_on`: who is answered waits, and clocks stand still."""
        self._rests = True
        self._clocks.stand(time.monotonic())

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self.under_way() and not any(user.request for user in self._users)

    def go_on(self) -> None:
        """Users ask again, and clocks go on where they stood, over new connections.

        To which of a server's processes one leads is luck, which must not be the same for ever.
        """
        self._rests = False
        for connection in (one for one in (*self._users, *self._pool) if not one.request):
            self._close(connection)
            self._open(connection)
        self._clocks.go_on(time.monotonic())
        while self._resting:
            self._next(self._resting.pop(), time.monotonic())

    def give_up(self) -> None:
        """What is under way counts as not answered."""
        now_s = time.monotonic()
        while self._waiting:
            self._record(self._waiting.popleft(), now_s, now_s, NO_ANSWER, 0)
        for connection in [*self._users, *self._pool]:
            if connection.request:
                self._fail(connection)

    def close(self) -> None:
        """Give every connection up; what is under way is not recorded."""
        for connection in [*self._users, *self._pool]:
            self._close(connection)
        self._waits.close()

    def run(self, breathe: Callable[[], object]) -> None:
        """Go on for ever; `breathe` may raise to end it."""
        breathe_s = sweep_s = time.monotonic()
        while True:
            wait_s = self._send_due(breathe_s + TICK_S)
            if alone := self._alone():  # it waits in its receiving: a call of the system less
                while alone.is_asking() and time.monotonic() < breathe_s + TICK_S:
                    self._serve(alone, READABLE, WAIT)
                wait_s = 0.0
            for fd, event in self._waits.poll(wait_s, exactly=bool(self._clocks)):
                connection = self._by_fd.get(fd)
                # One that an event before this closed is gone.
                if connection is not None:
                    self._serve(connection, event)
            now_s = time.monotonic()
            if now_s >= breathe_s + TICK_S:
                breathe()
                breathe_s = time.monotonic()
                if now_s >= sweep_s + SWEEP_S:
                    sweep_s = now_s
                    self._sweep(now_s)
                while self._refused and self._refused[0][0] <= now_s:
                    self._next(self._refused.popleft()[1], now_s)

    def _send_due(self, breathe_s: float) -> float:
        """Send what is due; the seconds until there is something to do."""
        for _ in range(min(BURST, len(self._waiting), len(self._free))):
            self._ask(self._free.popleft(), self._waiting.popleft(), time.monotonic())
        for _ in range(BURST):
            now_s = time.monotonic()
            if self._clocks.due_s > now_s:
                break
            self._arrive(self._clocks.take())
        if self._waiting and self._free:
            return 0.0
        return min(breathe_s, self._clocks.due_s) - now_s

    def _arrive(self, due_s: float) -> None:
        """A clock's request: on a connection that is free, else on a new one."""
        if self._free:
            self._ask(self._free.popleft(), due_s, time.monotonic())
        elif len(self._pool) < self._most:
            self._ask(self._pooled(), due_s, time.monotonic())
        else:
            self.crowded = True
            self._waiting.append(due_s)

    def _pooled(self) -> Connection:
        self._pool.append(Connection(self._waits.epoll, of_user=False))
        return self._pool[-1]

    def _ask(self, connection: Connection, due_s: float, now_s: float) -> None:
        """Send the next request, which was to be sent at `due_s`."""
        connection.begun_s, connection.sent_s = due_s, now_s
        connection.request = next(self._requests)
        if connection.stage == IDLE:
            self._send(connection)
        elif connection.stage == CLOSED:
            self._open(connection)

    def _send(self, connection: Connection) -> None:
        try:
            connection.send()
        except OSError:
            self._lost(connection)

    def _open(self, connection: Connection) -> None:
        connection.opened_s = time.monotonic()
        try:
            connection.open(self._server)
        except OSError:
            self._lost(connection)
        else:
            self._by_fd[connection.fd] = connection

    def _alone(self) -> Connection | None:
        """The only connection, where nothing but its answer is to come."""
        if len(self._by_fd) > 1 or self._clocks:
            return None
        return next((one for one in self._by_fd.values() if one.is_asking()), None)

    def _serve(self, connection: Connection, event: int, flags: int = AT_ONCE) -> None:
        try:
            if connection.stage == BUSY:
                if event & WRITABLE:
                    connection.send_rest()
                if event != WRITABLE and connection.receive(flags):
                    self._answered(connection)
            elif connection.stage == OPENING:
                if connection.go_on() and connection.request:
                    self._send(connection)
            else:
                connection.receive()  # nothing should come but the end
        except (OSError, ValueError):
            self._lost(connection)

    def _answered(self, connection: Connection) -> None:
        ended_s, answer = time.monotonic(), connection.answer
        begun_s, sent_s = connection.begun_s, connection.sent_s
        status, body_bytes = answer.status, answer.body_bytes
        connection.request = NOTHING
        connection.served += 1
        if answer.keep:
            connection.stage = IDLE
        else:
            self._close(connection)
        # The server must not wait for us to write down what it did.
        self._next(connection, ended_s)
        self._record(begun_s, sent_s, ended_s, status, body_bytes)

    def _lost(self, connection: Connection) -> None:
        """It failed. A server may close one that was idle just when a request comes: once more."""
        if connection.stage == BUSY:
            again = connection.served > 0 and not connection.answer.touched
        else:
            stayed_s = time.monotonic() - connection.opened_s
            again = connection.stage == IDLE and stayed_s > RETRY_S
        self._close(connection)
        if again:
            self._open(connection)
        elif connection.request:
            self._fail(connection)

    def _fail(self, connection: Connection) -> None:
        """The request gets no answer."""
        now_s = time.monotonic()
        self._close(connection)
        self._record(connection.begun_s, connection.sent_s, now_s, NO_ANSWER, 0)
        connection.request = NOTHING
        if connection.of_user and connection.left is None:
            self._refused.append((now_s + RETRY_S, connection))
        else:
            self._next(connection, now_s)

    def _next(self, connection: Connection, now_s: float) -> None:
        """What a connection without a request does now."""
        if connection.of_user:
            if connection.left is None and self._rests:
                self._resting.append(connection)
            elif connection.left is None:
                self._ask(connection, now_s, now_s)
            elif connection in self._users:
                self._leave(connection)
        else:
            self._free.append(connection)

    def _leave(self, user: Connection) -> None:
        self._close(user)
        self._users.discard(user)
        if user.left is not None:
            user.left()

    def _close(self, connection: Connection) -> None:
        self._by_fd.pop(connection.fd, None)
        connection.close()

    def _sweep(self, now_s: float) -> None:
        """Give up what has waited for too long."""
        for connection in [*self._users, *self._pool]:
            if connection.request and now_s - connection.sent_s > self._timeout_s:
                self._fail(connection)
