"""uvicorn as a worker has it, and how it ends without losing a request.

Whoever connects while the listening socket is closed must be refused, and never be taken in and
then reset: a request may be on its way already. And a connection that is kept must not be closed in
the moment in which its client sends the next request. So each has one more answer, which says that
it is the last; those that ask for none in a while are idle indeed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ssl import SSLContext
from typing import Any

import uvicorn

from inferctl.server.app import App
from inferctl.server.connection import Connection
from inferctl.server.connections import Connections
from inferctl.settings import ServerSettings
from inferctl.tls import HANDSHAKE_TIMEOUT_S

# What the answers to a handshake may take that is under way.
HANDSHAKE_S = 0.1
# See <linux/filter.h>: load the byte of TCP's flags, and drop what has SYN among them.
SO_ATTACH_FILTER = 26
_DROP_SYN = struct.pack(
    "HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 0x02, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF
)


class SupervisedServer(uvicorn.Server):
    """Obeys the supervisor alone: a signal to the whole group must not cut a drain short."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are ignored."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, as uvicorn does, but with an end to handshakes that do not come to theirs."""
        loop, config = asyncio.get_running_loop(), self.config
        connect: Any = config.http_protocol_class
        self.servers: list[asyncio.base_events.Server] = []
        for sock in sockets or ():
            server = await loop.create_server(
                partial(connect, config=config, server_state=self.server_state, app_state={}),
                sock=sock, backlog=config.backlog, ssl=config.ssl,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if config.ssl else None,
            )  # fmt: skip
            self.servers.append(server)
        self.started = True

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Take in who has connected, answer what they ask, and end."""
        app: App = self.config.loaded_app
        for sock in sockets or ():
            refuse_handshakes(sock)
        await asyncio.sleep(HANDSHAKE_S)
        await self._accept_all(sockets or ())
        app.predict.end()
        await super().shutdown(list(sockets or ()))
        if self.server_state.connections:
            app.predict.work.link.give_up()
            await asyncio.sleep(0)

    async def _accept_all(self, sockets: Sequence[socket.socket]) -> None:
        """Take in who waits still: the loop may have been held up, and takes one in each turn."""
        listening = select.poll()
        for sock in sockets:
            listening.register(sock, select.POLLIN)
        for _ in range(self.config.backlog):
            if not listening.poll(0):
                break
            await asyncio.sleep(0)
        # The last one is to be known by its protocol too.
        for _ in range(3):
            await asyncio.sleep(0)


def make_server(
    app: App, settings: ServerSettings, connections: Connections, tls: SSLContext | None
) -> SupervisedServer:
    """With our protocol, and nothing that uvicorn would do by itself."""
    config = uvicorn.Config(
        app,
        http=partial(Connection, app.predict, connections),  # type: ignore[arg-type] # it is called, no more
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
    )
    config.load()
    config.ssl = tls
    return SupervisedServer(config)


def refuse_handshakes(listening: socket.socket) -> None:
    """Begin no new ones on a listening socket; those under way are finished.

    Their clients try again in a second, and are refused then, or find a successor's socket. Where
    the system cannot do that, whoever connects in the very moment of the close is reset.
    """
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    instructions = len(_DROP_SYN) // 8
    with contextlib.suppress(OSError):
        listening.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HP", instructions, ctypes.addressof(program)),
        )
