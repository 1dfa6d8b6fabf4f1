"""A worker behind a real socket, as its process serves it, and clients that send it bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from inferctl.server.connections import Connections
from inferctl.server.protocol import Protocol
from inferctl.server.serving import SupervisedServer, make_server
from inferctl.tls import tls_context

from .asgi import Answer
from .loop import look_once, until
from .wiring import WORKER, Worker

NEVER_S = 3600


def packet(
    path: str = "/predict",
    body: bytes = b"",
    *,
    method: str = "POST",
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A whole request."""
    lines = {"Host": "here", "Content-Length": str(len(body)), **(headers or {})}
    return head(f"{path}?{query}" if query else path, lines, method) + body


def head(target: str, headers: Mapping[str, str], method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunks(*pieces: bytes) -> bytes:
    """A chunked body without its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


LAST_CHUNK = b"0\r\n\r\n"


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def feed(self, pieces: Iterable[bytes]) -> None:
        """Each is received before the next one is sent."""
        for piece in pieces:
            await self.send(piece)
            await look_once()

    async def send_in_pieces(self, data: bytes, size: int) -> None:
        await self.feed(data[at : at + size] for at in range(0, len(data), size))

    async def answer(self) -> Answer:
        """The next answer."""
        answer = Answer()
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[:-1]
        answer.status = int(lines[0].split()[1])
        pairs = [line.split(": ", 1) for line in lines[1:]]
        answer.headers = dict(pairs)
        assert len(answer.headers) == len(pairs), "a header was sent twice"
        answer.body = await self.reader.readexactly(int(answer.headers.get("content-length", 0)))
        return answer

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def is_refused(self, data: bytes, status: int) -> bool:
        """Send this to be answered by a problem, after which nothing more comes."""
        answer = await self.ask(data)
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["status"] == status
        assert len(answer.body) <= 512
        return await self.is_closed()

    async def is_closed(self) -> bool:
        """Waits for the server to close; whether nothing more came."""
        return await self.reader.read() == b""

    async def leave(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):  # the server left first
            await self.writer.wait_closed()


@dataclass
class Service:
    """A listening server."""

    server: SupervisedServer
    listening: socket.socket
    connections: Connections
    turned_away: list[int]
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = self.listening.getsockname()

    async def connect(self, buffer_bytes: int = 0) -> Client:
        """A new connection; with `buffer_bytes` both kernels hold no more than about that."""
        sock = socket.socket(proto=socket.IPPROTO_TCP)
        if buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            raise
        client = Client(*await asyncio.open_connection(sock=sock))
        self.clients.append(client)
        return client

    async def ask(
        self, path: str = "/predict", body: bytes | Sequence[bytes] = b"", **request: Any
    ) -> Answer:
        """One request on a connection of its own."""
        client = await self.connect()
        whole = body if isinstance(body, bytes) else b"".join(body)
        answer = await client.ask(packet(path, whole, **request))
        await client.leave()
        return answer

    async def connections_are_gone(self) -> None:
        await until(lambda: not self.server.server_state.connections)

    @property
    def only_connection(self) -> Protocol:
        """The server's side of the only one that is open."""
        (connection,) = self.server.server_state.connections
        return cast(Protocol, connection)

    def closed(self) -> dict[str, int]:
        """How many connections ended, by reason."""
        cells = self.connections._closed.items()
        return {reason: int(cell.get()) for reason, cell in cells if cell.get()}

    def idle_time_is_over(self) -> None:
        """Every connection that is idle, by ours or uvicorn's account, now was so for too long."""
        for connection in list(self.server.server_state.connections):
            if connection in self.connections.idle:
                connection.leave("idle")

    async def drain(self) -> None:
        """What its process does when it is told to."""
        self.server.should_exit = True
        await self.server.main_loop()
        await self.server.shutdown([self.listening])


@asynccontextmanager
async def serving(
    worker: Worker, keep_alive_s: float = NEVER_S, **limits: Any
) -> AsyncIterator[Service]:
    """The server of a worker's process, without its ticking.

    `limits` are settings of the server that the worker itself need not know.
    """
    # As a worker opens it: from sockets that do not say they are TCP asyncio takes no delay away.
    listening = socket.socket(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    server_settings = worker.server.model_copy(update={"keep_alive_s": keep_alive_s, **limits})
    turned_away: list[int] = []
    connections = Connections(server_settings, worker.ledger, WORKER, turned_away.append)
    tls = tls_context(server_settings)
    server = make_server(worker.app, server_settings, connections, tls)
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup([listening])
    await server.on_tick(0)  # makes the date header
    service = Service(server, listening, connections, turned_away)
    try:
        yield service
    finally:
        for client in service.clients:
            await client.leave()
        await service.connections_are_gone()
        for listener in server.servers:
            listener.close()
