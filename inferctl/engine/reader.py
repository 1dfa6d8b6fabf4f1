"""The engine's one reader: workers' submissions to the runners, verdicts back to the workers."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from inferctl.arena.wire import RECEIVE_BYTES, Control, RecordStream, Verdict, encode_records
from inferctl.engine.runner import Runner


@dataclass(slots=True)
class WorkerLink:
    """The engine's end of the socket to one worker."""

    worker: int
    socket: socket.socket
    records: RecordStream = field(default_factory=RecordStream)
    # Runner threads send on the same stream.
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, data: bytes) -> None:
        """Send verdicts; a dead worker needs none, and the reader may have closed its socket."""
        with self.sending, contextlib.suppress(OSError):
            self.socket.sendall(data)


class Reader:
    """Waits for submissions of every worker and for the supervisor."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._runners: list[Runner] = []
        self._links: dict[int, WorkerLink] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def add(self, runner: Runner) -> None:
        """Runners are numbered in the order they are added, which is the models' order."""
        self._runners.append(runner)

    def deliver(self, model: int, worker: int, slots: Sequence[int], verdict: Verdict) -> None:
        """Send verdicts to the worker that owns the slots."""
        if link := self._links.get(worker):
            link.send(encode_records((slot, model, verdict) for slot in slots))

    def serve(self) -> None:
        """Read until the supervisor hangs up: it is dead, or wants the engine to stop."""
        if self._control.pending:  # it came together with the spec
            self._obey()
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    if not self._obey():
                        return
                else:
                    self._read(key.data)

    def _obey(self) -> bool:
        """Take the supervisor's messages; the only one hands over a new worker's socket."""
        while True:
            message = self._control.receive()
            if message is None:
                return False
            self._attach(message["worker"], socket.socket(fileno=message["fd"]))
            if not self._control.pending:
                return True

    def _attach(self, worker: int, sock: socket.socket) -> None:
        if old := self._links.pop(worker, None):
            self._detach(old)
        for runner in self._runners:
            runner.evict(worker)
        self._links[worker] = link = WorkerLink(worker, sock)
        self._selector.register(sock, selectors.EVENT_READ, link)

    def _detach(self, link: WorkerLink) -> None:
        self._selector.unregister(link.socket)
        link.socket.close()

    def _read(self, link: WorkerLink) -> None:
        try:
            data = link.socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            # The successor's socket arrives over the control socket and evicts what is left.
            if self._links.get(link.worker) is link:
                del self._links[link.worker]
                self._detach(link)
            return
        submitted: dict[int, list[int]] = defaultdict(list)
        for slot, model, _ in link.records.feed(data):
            submitted[model].append(slot)
        for model, slots in submitted.items():
            self._runners[model].submit(slots)
