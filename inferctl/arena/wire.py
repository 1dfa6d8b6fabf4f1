"""The two kinds of message between processes.

Records, worker <-> engine: 8 bytes each (slot u32, model u16, verdict u16, little-endian), any
number per send. A worker submits with SUBMIT; the engine answers with a verdict.

Control messages, supervisor <-> child: one JSON object per line, some with a file descriptor
attached (SCM_RIGHTS). A closed control socket means that the other side is dead.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any

RECORD = struct.Struct("<IHH")
RECEIVE_BYTES = 64 * 1024


class Verdict(IntEnum):
    """What became of a row; SUBMIT is the question, the others are answers."""

    SUBMIT = 0
    DONE = 1
    FAILED = 2
    EXPIRED = 3
    CANCELLED = 4
    TIMED_OUT = 5
    OUT_OF_MEMORY = 6
    CRASHED = 7
    UNLOADED = 8


Record = tuple[int, int, int]


def encode_records(records: Iterable[Record]) -> bytes:
    """Pack (slot, model, verdict) triples."""
    return b"".join(RECORD.pack(*record) for record in records)


class RecordStream:
    """Cuts a byte stream into records; keeps the unfinished end for the next call."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """The whole records (slot, model, verdict) that `data` completes."""
        data = self._rest + data
        whole = len(data) - len(data) % RECORD.size
        self._rest = data[whole:]
        return RECORD.iter_unpack(data[:whole])


class Control:
    """One end of a control socket. `receive` blocks unless the socket was made non-blocking."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""
        self._descriptors: deque[int] = deque()
        self._messages: deque[dict[str, Any]] = deque()

    def fileno(self) -> int:
        """For selectors and event loops."""
        return self._socket.fileno()

    def hang_up(self) -> None:
        """Say no more; the other side sees it as this side's death. What it says is still heard."""
        with contextlib.suppress(OSError):  # it is dead already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> bool:
        """Send a message; with a descriptor, its `fd` is the receiver's own copy.

        False when the other side is dead.
        """
        descriptors = [] if descriptor is None else [descriptor]
        line = json.dumps(message | {"has_fd": bool(descriptors)}).encode() + b"\n"
        try:
            sent = socket.send_fds(self._socket, [line], descriptors)
            self._socket.sendall(line[sent:])
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def answer(self, request: int, error: str | None = None) -> bool:
        """Say what became of a message that had the number `request` as its `id`."""
        return self.send({"event": "answer", "to": request, "error": error})

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the other side is dead."""
        while not self._messages:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, RECEIVE_BYTES, 8)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._descriptors.extend(descriptors)
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message.pop("has_fd"):
                    message["fd"] = self._descriptors.popleft()
                self._messages.append(message)
        return self._messages.popleft()

    @property
    def pending(self) -> bool:
        """Whether `receive` would return without reading."""
        return bool(self._messages)
