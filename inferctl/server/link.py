"""The worker's line to the engine: submits slots, waits for verdicts, outlives an engine.

When the engine dies its rows stay where they are, inputs included; the successor gets them again,
once, within their deadlines.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inferctl.arena.wire import RECEIVE_BYTES, RECORD, RecordStream, Verdict
from inferctl.errors import (
    DeadlineExceeded,
    InferctlError,
    RequestError,
    RowFailed,
    Unavailable,
)
from inferctl.server.served import ServedModel

# A row in flight when the engine died may be what killed it: it is tried once more, not for ever.
MAX_ATTEMPTS = 2


class Waiting(Protocol):
    """A request that waits for its rows."""

    def row_done(self) -> None:
        """A row's outputs are in its slot."""

    def fail(self, error: InferctlError) -> None:
        """A row has none: DeadlineExceeded, RowFailed or Unavailable."""


@dataclass(slots=True)
class Pending:
    """A row that the engine has, or had when it died. `request` is None once nobody waits."""

    request: Waiting | None
    attempts: int = 0


class EngineLink:
    """One worker's rows in the engine. Lives on the event loop's thread."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models = models
        self._pending: dict[tuple[int, int], Pending] = {}
        self._socket: socket.socket | None = None
        self._records = RecordStream()
        self._unsent = bytearray()
        # Whether the socket took less than it was given, and is watched for room.
        self._stalled = False
        self._down = False

    @property
    def attached(self) -> bool:
        """Whether an engine is at the other end."""
        return self._socket is not None

    def attach(self, sock: socket.socket) -> None:
        """Talk to a new engine, and give it the rows that the last one left unanswered."""
        self.detach()
        sock.setblocking(False)
        self._socket, self._records, self._down = sock, RecordStream(), False
        self._stalled = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)
        for (number, slot), pending in list(self._pending.items()):
            if pending.request is None:
                self._finish(number, slot)
            elif pending.attempts >= MAX_ATTEMPTS:
                self._fail(number, slot, RowFailed("the engine died on this row"))
            else:
                self._submit(number, slot, pending)

    def detach(self) -> None:
        """The engine died. Its rows wait for `attach`."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._unsent.clear()

    def give_up(self) -> None:
        """No engine will come back: everything that waits, and comes, is unavailable."""
        self._down = True
        self.detach()  # its last verdicts would be about rows that are gone
        for number, slot in list(self._pending):
            self._fail(number, slot, Unavailable("the engine is down"))

    def submit(self, model: ServedModel, slots: Sequence[int], request: Waiting) -> None:
        """Submit written slots; `request` hears of each. Raises Unavailable."""
        if self._down:
            raise Unavailable("the engine is down")
        now_s = time.monotonic()
        for slot in slots:
            pending = self._pending[model.number, slot] = Pending(request)
            model.arena.submitted_s[slot] = now_s
            self._submit(model.number, slot, pending)

    def release(self, model: ServedModel, slot: int) -> None:
        """The request is over; a slot that the engine still has is freed by its verdict."""
        pending = self._pending.get((model.number, slot))
        if pending is None:
            model.give_back(slot)
        else:
            model.arena.cancelled[slot] = 1
            pending.request = None

    def _submit(self, number: int, slot: int, pending: Pending) -> None:
        """Send a row to the engine; without one it waits for `attach`."""
        if self._socket is None:
            return
        pending.attempts += 1
        if not self._unsent:
            # All that comes in this turn of the loop and the next one goes in one message.
            self._loop.call_soon(self._loop.call_soon, self._send)
        self._unsent += RECORD.pack(slot, number, Verdict.SUBMIT)

    def _send(self) -> None:
        """Send what the socket takes: a stalled engine leaves room for some 280 submissions."""
        if self._socket is None or not self._unsent:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            self.detach()
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket.fileno(), self._send)
            self._stalled = True
        elif self._stalled:
            self._loop.remove_writer(self._socket.fileno())
            self._stalled = False

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.detach()
            return
        for slot, number, verdict in self._records.feed(data):
            if verdict == Verdict.DONE:
                self._finish(number, slot)
            elif verdict == Verdict.EXPIRED:
                self._fail(number, slot, DeadlineExceeded("the deadline passed in the queue"))
            else:  # FAILED; nobody waits for a CANCELLED one
                self._fail(number, slot, RowFailed("the model failed on this input"))

    def _finish(self, number: int, slot: int) -> None:
        request = self._pending.pop((number, slot)).request
        if request is None:
            self._models[number].give_back(slot)
        else:
            request.row_done()

    def _fail(self, number: int, slot: int, error: RequestError) -> None:
        request = self._pending.pop((number, slot)).request
        if request is None:
            self._models[number].give_back(slot)
        else:
            request.fail(error)
