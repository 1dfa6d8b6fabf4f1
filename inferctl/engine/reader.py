"""The engine's one reader: workers' submissions to the runners, verdicts back to the workers."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferctl.arena.wire import RECEIVE_BYTES, RECORD, Control, RecordStream, Verdict
from inferctl.engine.runner import Runner


@dataclass(slots=True)
class WorkerLink:
    """The engine's end of the socket to one worker."""

    worker: int
    socket: socket.socket
    records: RecordStream = field(default_factory=RecordStream)
    # Runner threads send on the same stream.
    sending: threading.Lock = field(default_factory=threading.Lock)
    unsent: bytearray = field(default_factory=bytearray)

    def send(self) -> bool:
        """Send what the socket takes of `unsent`; whether that was all. Holds `sending`.

        Never waits: a worker that is stalled must not stall the runners. A dead one needs nothing.
        """
        try:
            sent = self.socket.send(self.unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self.unsent)
        del self.unsent[:sent]
        return not self.unsent


class Reader:
    """Waits for submissions of every worker and for the supervisor.

    What the supervisor says of models is for `order`.
    """

    def __init__(self, control: Control, order: Callable[[dict[str, Any]], None]) -> None:
        self._control = control
        self._order = order
        # By place. A model that is loaded while others are served is added by another thread.
        self._runners: dict[int, Runner] = {}
        self._inline: list[Runner] = []
        self._links: dict[int, WorkerLink] = {}
        # Rows that were read in this turn, by place: those of all workers are submitted together.
        self._submitted: defaultdict[int, list[int]] = defaultdict(list)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def add(self, place: int, runner: Runner, inline: bool = False) -> None:
        """From now on rows may come for a place.

        An inline runner has no threads: the reader runs its batches itself, between two reads.
        """
        self._runners[place] = runner
        if inline:
            self._inline.append(runner)

    def remove(self, place: int, runner: Runner) -> None:
        """No row comes for a place any more: its runner has left."""
        del self._runners[place]
        if runner in self._inline:
            self._inline.remove(runner)

    def deliver(self, place: int, worker: int, slots: Sequence[int], verdict: Verdict) -> None:
        """Send verdicts to the worker that owns the slots."""
        if link := self._links.get(worker):
            pack = RECORD.pack
            with link.sending:
                waiting = bool(link.unsent)
                link.unsent += b"".join([pack(slot, place, verdict) for slot in slots])
                if not waiting and not link.send():
                    self._watch(link, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def serve(self) -> None:
        """Read until the supervisor hangs up: it is dead, or wants the engine to stop."""
        if self._control.pending:  # it came together with the spec
            self._obey()
        rows_wait = False
        while True:
            for key, events in self._select(rows_wait):
                if key.data is None:
                    if not self._obey():
                        return
                    continue
                if events & selectors.EVENT_WRITE:
                    self._send_on(key.data)
                if events & selectors.EVENT_READ:
                    self._read(key.data)
            self._submit()
            # One batch of each; what came meanwhile joins the next one.
            left = [runner.step() for runner in self._inline]
            rows_wait = any(left)

    def close(self) -> None:
        """Hang up on the workers, once the last verdict is delivered."""
        for link in self._links.values():
            self._detach(link)
        self._links.clear()
        self._selector.close()

    def _select(self, rows_wait: bool) -> list[tuple[selectors.SelectorKey, int]]:
        """What can be read or written, waiting for it unless rows wait already."""
        if rows_wait:
            return self._selector.select(0)
        ready = self._selector.select()
        if len(self._inline) < len(self._runners):
            return ready
        # All runs are tiny: a worker that is about to submit goes first, and its rows join. With
        # a core to spare this costs nothing.
        os.sched_yield()
        # Those that are ready are read after it anyhow.
        return ready if len(ready) >= len(self._links) else self._selector.select(0)

    def _obey(self) -> bool:
        """Take the supervisor's messages."""
        while True:
            message = self._control.receive()
            if message is None:
                return False
            if message["do"] == "attach":
                self._attach(message["worker"], socket.socket(fileno=message["fd"]))
            else:
                self._order(message)
            if not self._control.pending:
                return True

    def _attach(self, worker: int, sock: socket.socket) -> None:
        if old := self._links.pop(worker, None):
            self._detach(old)
        self._submit()  # its last rows may be among them
        for runner in list(self._runners.values()):
            runner.evict(worker)
        self._links[worker] = link = WorkerLink(worker, sock)
        self._selector.register(sock, selectors.EVENT_READ, link)

    def _detach(self, link: WorkerLink) -> None:
        with link.sending:  # not between a runner's send and its `_watch`
            self._selector.unregister(link.socket)
            link.socket.close()

    def _send_on(self, link: WorkerLink) -> None:
        """The worker reads again: send it what had to wait."""
        with link.sending:
            if link.send():
                self._watch(link, selectors.EVENT_READ)

    def _watch(self, link: WorkerLink, events: int) -> None:
        with contextlib.suppress(KeyError, ValueError):  # detached meanwhile
            self._selector.modify(link.socket, events, link)

    def _read(self, link: WorkerLink) -> None:
        if self._links.get(link.worker) is not link:
            return  # replaced by its successor since `select` told of it
        try:
            data = link.socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            # What is running now is waited for when the successor's socket arrives.
            del self._links[link.worker]
            self._detach(link)
            for runner in list(self._runners.values()):
                runner.discard(link.worker)
            return
        submitted, runners = self._submitted, self._runners
        for slot, place, _ in link.records.feed(data):
            if place in runners:
                submitted[place].append(slot)
            else:  # a successor could not load what its predecessor had
                self.deliver(place, link.worker, [slot], Verdict.UNLOADED)

    def _submit(self) -> None:
        for place, slots in self._submitted.items():
            # A worker that died may have been the last one to have rows of a model that is gone.
            if runner := self._runners.get(place):
                runner.submit(slots)
        self._submitted.clear()
