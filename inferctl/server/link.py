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

from inferctl.arena.wire import RECEIVE_BYTES, RECORD, RecordStream, Verdict
from inferctl.errors import (
    DeadlineExceeded,
    RequestError,
    RowFailed,
    Unavailable,
)
from inferctl.server.served import ServedModel

# A row in flight when the engine died may be what killed it: it is tried once more, not for ever.
MAX_ATTEMPTS = 2


@dataclass(slots=True)
class Pending:
    """A row that the engine has, or had when it died. `answered` is None once nobody waits."""

    answered: asyncio.Future[None] | None
    attempts: int = 0


class EngineLink:
    """One worker's rows in the engine. Lives on the event loop's thread."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models = models
        self._pending: dict[tuple[int, int], Pending] = {}
        self._socket: socket.socket | None = None
        self._records = RecordStream()
        self._unsent = bytearray()
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
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)
        for (number, slot), pending in list(self._pending.items()):
            if pending.answered is None:
                self._finish(number, slot)
            elif pending.attempts >= MAX_ATTEMPTS:
                self._fail(number, slot, RowFailed("the engine died on this row"))
            else:
                self._submit(number, slot, pending)

    def detach(self) -> None:
        """The engine died. Its rows wait for `attach`."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._unsent.clear()

    def give_up(self) -> None:
        """No engine will come back: everything that waits, and comes, is unavailable."""
        self._down = True
        self.detach()  # its last verdicts would be about rows that are gone
        for number, slot in list(self._pending):
            self._fail(number, slot, Unavailable("the engine is down"))

    def start(self, model: ServedModel, slot: int) -> asyncio.Future[None]:
        """Submit a written slot; the future is done when its outputs are in the slot.

        The future raises DeadlineExceeded, RowFailed or Unavailable.
        """
        if self._down:
            raise Unavailable("the engine is down")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending = self._pending[model.number, slot] = Pending(answered)
        model.arena.submitted_s[slot] = time.monotonic()
        self._submit(model.number, slot, pending)
        return answered

    def release(self, model: ServedModel, slot: int) -> None:
        """The request is over; a slot that the engine still has is freed by its verdict."""
        pending = self._pending.get((model.number, slot))
        if pending is None:
            model.give_back(slot)
        else:
            model.arena.cancelled[slot] = 1
            pending.answered = None

    def _submit(self, number: int, slot: int, pending: Pending) -> None:
        """Send a row to the engine; without one it waits for `attach`."""
        if self._socket is None:
            return
        pending.attempts += 1
        waiting = bool(self._unsent)
        self._unsent += RECORD.pack(slot, number, Verdict.SUBMIT)
        if not waiting:
            self._send()

    def _send(self) -> None:
        """Send what the socket takes: a stalled engine leaves room for some 280 submissions."""
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            self.detach()
            return
        del self._unsent[:sent]
        if self._unsent:
            loop.add_writer(self._socket.fileno(), self._send)
        else:
            loop.remove_writer(self._socket.fileno())

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
        pending = self._pending.pop((number, slot))
        if pending.answered is None:
            self._models[number].give_back(slot)
        elif not pending.answered.done():
            pending.answered.set_result(None)

    def _fail(self, number: int, slot: int, error: RequestError) -> None:
        pending = self._pending.pop((number, slot))
        if pending.answered is None:
            self._models[number].give_back(slot)
        elif not pending.answered.done():
            pending.answered.set_exception(error)
