"""The worker's line to the engine: submits slots, waits for verdicts, outlives an engine.

When the engine dies its rows stay where they are, inputs included, and the successor gets them
again, within their deadlines; but not those that were running. What became of these the successor
has found out before it is ready, and has noted in their slots.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Sequence
from typing import Protocol

from inferctl.arena.wire import RECEIVE_BYTES, RECORD, RecordStream, Verdict
from inferctl.errors import InferctlError
from inferctl.refusals import (
    DeadlineExceeded,
    EngineCrash,
    OutOfMemory,
    RequestError,
    RowFailed,
    Unavailable,
)
from inferctl.server.served import ServedModel

# What a request hears of a row without an answer; nobody waits for one that was cancelled.
FAILURES: dict[int, tuple[type[RequestError], str]] = {
    Verdict.FAILED: (RowFailed, "the model failed on this input"),
    Verdict.CANCELLED: (RowFailed, "the request was cancelled"),
    Verdict.EXPIRED: (DeadlineExceeded, "the deadline passed in the queue"),
    Verdict.TIMED_OUT: (DeadlineExceeded, "the model took too long on this input"),
    Verdict.OUT_OF_MEMORY: (OutOfMemory, "this input needs more memory than there is"),
    Verdict.CRASHED: (EngineCrash, "the model crashed on this input"),
    Verdict.UNLOADED: (Unavailable, "the engine has this version no more"),
}


class Waiting(Protocol):
    """A request that waits for its rows."""

    def row_done(self) -> None:
        """A row's outputs are in its slot."""

    def fail(self, error: InferctlError) -> None:
        """A row has none: one of FAILURES, or Unavailable."""


class EngineLink:
    """One worker's rows in the engine. Lives on the event loop's thread."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._models: dict[int, ServedModel] = {}
        # By place, then slot: rows that the engine has, or had when it died, and who waits for
        # them; None once nobody does.
        self._waiting: dict[int, dict[int, Waiting | None]] = {}
        self._socket: socket.socket | None = None
        self._records = RecordStream()
        self._unsent = bytearray()
        # Whether the socket took less than it was given, and is watched for room.
        self._stalled = False
        self._down = False
        # When a successor is expected, while there is no engine.
        self._back_s = 0.0

    def add(self, model: ServedModel) -> None:
        """From now on its rows may be submitted."""
        self._models[model.place] = model
        self._waiting[model.place] = {}

    def remove(self, model: ServedModel) -> None:
        """The engine has no row of it, and none will be submitted any more."""
        del self._models[model.place], self._waiting[model.place]

    @property
    def attached(self) -> bool:
        """Whether an engine is at the other end."""
        return self._socket is not None

    def attach(self, sock: socket.socket) -> None:
        """Talk to a new engine, and give it the rows that the last one left unanswered."""
        self._hear_out()
        sock.setblocking(False)
        self._socket, self._records, self._down = sock, RecordStream(), False
        self._stalled = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)
        for place, waiting in self._waiting.items():
            for slot, request in list(waiting.items()):
                if request is None:
                    self._finish(place, slot)
                elif (verdict := self._models[place].verdict_of_trial(slot)) is not None:
                    self._hear(place, slot, verdict)
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

    def expect(self, back_s: float) -> None:
        """The engine is dead, and its successor is expected at that moment."""
        self._back_s = back_s

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
        if self._socket is None:
            self._check_comes_back(model.deadline_s[slots[0]], now_s)
        place = model.place
        waiting = self._waiting[place]
        for slot in slots:
            waiting[slot] = request
            model.submitted_s[slot] = now_s
            self._submit(place, slot)

    def _check_comes_back(self, deadline_s: float, now_s: float) -> None:
        """Raise Unavailable when no engine will be there in time."""
        if self._down:
            raise Unavailable("the engine is down")
        if self._back_s > deadline_s:
            after_s = max(1, math.ceil(self._back_s - now_s))
            raise Unavailable("the engine is starting again", retry_after_s=after_s)

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
            self._hear_out()
            return
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket.fileno(), self._send)
            self._stalled = True
        elif self._stalled:
            self._loop.remove_writer(self._socket.fileno())
            self._stalled = False

    def _hear_out(self) -> None:
        """The engine is dead: take its last verdicts."""
        while self._read():
            pass
        self.detach()

    def _read(self) -> bool:
        """Take verdicts; whether there were any."""
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.detach()
            return False
        done = Verdict.DONE
        for slot, place, verdict in self._records.feed(data):
            if verdict == done:
                self._finish(place, slot)
            else:
                self._hear(place, slot, verdict)
        return True

    def _hear(self, place: int, slot: int, verdict: int) -> None:
        """A row has its verdict."""
        if verdict == Verdict.DONE:
            self._finish(place, slot)
        else:
            error, what = FAILURES[verdict]
            self._fail(place, slot, error(what))

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
