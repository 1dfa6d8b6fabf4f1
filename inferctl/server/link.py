"""The worker's line to the engine: submits slots, waits for verdicts, outlives an engine.

When the engine dies its rows stay where they are, inputs included; the successor gets them again,
once, within their deadlines.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
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


class EngineLink:
    """One worker's rows in the engine. Lives on the event loop's thread."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._models: dict[int, ServedModel] = {}
        # By place, then slot: rows that the engine has, or had when it died, and who waits for
        # them; None once nobody does. And how often each slot's row was sent.
        self._waiting: dict[int, dict[int, Waiting | None]] = {}
        self._attempts: dict[int, bytearray] = {}
        self._socket: socket.socket | None = None
        self._records = RecordStream()
        self._unsent = bytearray()
        # Whether the socket took less than it was given, and is watched for room.
        self._stalled = False
        self._down = False

    def add(self, model: ServedModel) -> None:
        """From now on its rows may be submitted."""
        self._models[model.place] = model
        self._waiting[model.place] = {}
        self._attempts[model.place] = bytearray(model.arena.slots)

    def remove(self, model: ServedModel) -> None:
        """The engine has no row of it, and none will be submitted any more."""
        for by_place in (self._models, self._waiting, self._attempts):
            del by_place[model.place]

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
        for place, waiting in self._waiting.items():
            for slot, request in list(waiting.items()):
                if request is None:
                    self._finish(place, slot)
                elif self._attempts[place][slot] >= MAX_ATTEMPTS:
                    self._fail(place, slot, RowFailed("the engine died on this row"))
                else:
                    self._submit(place, slot)

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
        for place, waiting in self._waiting.items():
            for slot in list(waiting):
                self._fail(place, slot, Unavailable("the engine is down"))

    def submit(
        self, model: ServedModel, slots: Sequence[int], request: Waiting, now_s: float
    ) -> None:
        """Submit written slots, of which `request` hears; they wait from `now_s` on.

        Raises Unavailable.
        """
        if self._down:
            raise Unavailable("the engine is down")
        place = model.place
        waiting, attempts = self._waiting[place], self._attempts[place]
        for slot in slots:
            waiting[slot] = request
            attempts[slot] = 0
            model.submitted_s[slot] = now_s
            self._submit(place, slot)

    def release(self, model: ServedModel, slot: int) -> None:
        """The request is over; a slot that the engine still has is freed by its verdict."""
        waiting = self._waiting[model.place]
        if slot in waiting:
            model.arena.cancelled[slot] = 1
            waiting[slot] = None
        else:
            model.give_back(slot)

    def _submit(self, place: int, slot: int) -> None:
        """Send a row to the engine; without one it waits for `attach`."""
        if self._socket is None:
            return
        self._attempts[place][slot] += 1
        if not self._unsent:
            # All that comes in this turn of the loop and the next one goes in one message.
            self._loop.call_soon(self._loop.call_soon, self._send)
        self._unsent += RECORD.pack(slot, place, Verdict.SUBMIT)

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
        done = Verdict.DONE
        for slot, place, verdict in self._records.feed(data):
            if verdict == done:
                self._finish(place, slot)
            elif verdict == Verdict.EXPIRED:
                self._fail(place, slot, DeadlineExceeded("the deadline passed in the queue"))
            else:  # FAILED; nobody waits for a CANCELLED one
                self._fail(place, slot, RowFailed("the model failed on this input"))

    def _finish(self, place: int, slot: int) -> None:
        request = self._waiting[place].pop(slot)
        if request is None:
            self._give_back(place, slot)
        else:
            request.row_done()

    def _fail(self, place: int, slot: int, error: RequestError) -> None:
        request = self._waiting[place].pop(slot)
        if request is None:
            self._give_back(place, slot)
        else:
            request.fail(error)

    def _give_back(self, place: int, slot: int) -> None:
        """Free the slot of a request that was over before its verdict."""
        model = self._models[place]
        model.give_back(slot)
        if model.leaving:
            model.look()
