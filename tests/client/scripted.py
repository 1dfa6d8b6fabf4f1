"""A real HTTP server that answers each request as its script says, and a clock of its own."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NamedTuple

ANSWER = {
    "label": "good", "score": 0.75, "scores": {"bad": 0.25, "good": 0.75},
    "inference_ms": 1.5, "latency_ms": 2.5, "model": "mood", "version": 3,
}  # fmt: skip


class Answer(NamedTuple):
    """What a request gets; with `missing` bytes, that many of the body are never sent."""

    status: int = 200
    content: Any = ANSWER
    headers: Mapping[str, str] = {}
    missing: int = 0


class Refusal(NamedTuple):
    """The connection ends without an answer."""


class Silence(NamedTuple):
    """No answer, and the connection stays; `over` ends it."""

    over: Event


Entry = Answer | Refusal | Silence


def problem(status: int, code: str, **headers: str) -> Answer:
    """A problem as the server writes it."""
    content = {"status": status, "code": code, "detail": f"it is {code}", "hint": "do otherwise"}
    return Answer(status, content, {"content-type": "application/problem+json", **headers})


class Received(NamedTuple):
    """A request that came in; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted:
    """`received` are the requests so far, `connections` how many carried them."""

    def __init__(self, url: str, script: tuple[Entry, ...]) -> None:
        self.url = url
        self.received: list[Received] = []
        self.connections = 0
        self._script = deque(script)

    def next(self) -> Entry:
        """The entry of this request; a script that is over goes on well."""
        return self._script.popleft() if self._script else Answer()


class Clock:
    """Moves on by what is paused, and by nothing else."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses_s: list[float] = []

    def now(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


@contextmanager
def scripted(*script: Entry, port: int = 0) -> Iterator[Scripted]:
    """Serve the script on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            state.connections += 1

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            entry = state.next()
            state.received.append(Received(self.command, self.path, headers, body))
            if isinstance(entry, Silence):
                entry.over.wait(10)
            if not isinstance(entry, Answer):
                self.close_connection = True
                return
            content = entry.content
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(entry.status)
            for name, value in entry.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(data) + entry.missing))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = self.close_connection or entry.missing > 0

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        state = Scripted(f"http://127.0.0.1:{server.server_port}", script)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
